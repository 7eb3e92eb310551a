"""How long a start takes: the import of all methods, and a run until its first iteration.

    python benchmarks/start.py
    python benchmarks/start.py --times 9 --beside ../before/saddlepoint experiment=faces

Words are those of `train.py`'s command line. Another checkout, in a folder called saddlepoint, is
measured in turns with this one. The files of all libraries should have been read before, so that
the first turn does not count.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Each says its processor time, that of the processes it started included, and ends.
SAY = """
import os
def say(*_):
    print(f"\\nhere after {sum(os.times()[:4])}", flush=True)
    os._exit(0)
"""
IMPORT = """
import saddlepoint.gans
say()
"""
RUN = """
import sys
from saddlepoint.runs import console, entrance
work = entrance._work
def prepared(command):
    run = work(command)
    from saddlepoint.gans import Game
    Game.play = say
    return run
entrance._work = prepared
sys.exit(console.run("train"))
"""
STARTS = {"torch alone": "import torch\nsay()", "saddlepoint.gans": IMPORT, "a run": RUN}


def started(program: str, checkout: Path, words: list[str]) -> tuple[float, float]:
    """Seconds of the processor, and of the clock, until a program says that it is there."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.parent)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", SAY + program, *words, f"output_dir={folder}"]
        start = time.monotonic()
        with subprocess.Popen(command, cwd=folder, env=environment, stdout=-1, text=True) as done:
            for line in done.stdout:
                if line.startswith("here after "):
                    return float(line.split()[-1]), time.monotonic() - start
    raise SystemExit(f"{checkout} did not come to its first iteration")


def main() -> None:
    """Measure in turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--beside", type=Path, help="another checkout, called saddlepoint")
    options, words = parser.parse_known_args()
    checkouts = [ROOT] if options.beside is None else [options.beside.resolve(), ROOT]
    print(f"{'until':<18}{'checkout':<40}{'processor':>12}{'clock':>10}")
    for name, program in STARTS.items():
        found = {checkout: [] for checkout in checkouts}
        for turn in range(options.times + 1):
            for checkout, times in found.items():
                measured = started(program, checkout, words)
                if turn:
                    times.append(measured)
        for checkout, times in found.items():
            processor, clock = map(statistics.median, zip(*times, strict=True))
            place = str(checkout)[-38:]
            print(f"{name:<18}{place:<40}{processor:>10.2f} s{clock:>8.2f} s", flush=True)


if __name__ == "__main__":
    main()
