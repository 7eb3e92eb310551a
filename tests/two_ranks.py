"""Helper to run a few lines in two processes that know of each other."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PRELUDE = """
import sys, torch
sys.path[:0] = [{root!r}, {tests!r}]
torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), {folder!r}
torch.distributed.init_process_group(
    "gloo", init_method=f"file://{{folder}}/meet", rank=rank, world_size=2
)
"""


def on_two_ranks(body, folder):
    """Run ``body``, which knows ``rank`` and ``folder``, on both; return what each printed."""
    prelude = PRELUDE.format(root=str(TESTS.parent), tests=str(TESTS), folder=str(folder))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", prelude + body, str(rank)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    return [process.communicate(timeout=120)[0] for process in processes]
