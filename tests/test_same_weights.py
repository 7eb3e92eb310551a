"""Methods train the same weights, bit for bit, as before the frame was opened to other games."""

import io
import json
import os
import subprocess
import sys
import tarfile

import pytest
from train_cli import ROOT

#: The last commit of the frame that knew two-player games only.
BEFORE = "be135793d4492617587924c7bebfef36da6b78b8"


def digests(conf, *paths):
    """Start `weights_of.py` on one thread, in the version whose folder comes first."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "weights_of.py"), str(conf)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_every_method_has_the_weights_it_had_before(tmp_path):
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", BEFORE], capture_output=True)
    if archive.returncode:
        pytest.skip("the history of this checkout does not reach back to the version before")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(tmp_path, filter="data")
    processes = [digests(tmp_path / "conf", str(tmp_path)), digests(ROOT / "conf")]
    before, now = (process.communicate(timeout=280) for process in processes)
    assert not any(process.returncode for process in processes), before[1] + now[1]
    before, now = (json.loads(output) for output, _ in (before, now))
    assert len(now) > 15
    assert now == before
