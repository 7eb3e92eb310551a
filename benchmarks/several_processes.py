"""What a second process brings: iterations per second, and where they wait for each other.

    python benchmarks/several_processes.py gan=sngan network=lite
    python benchmarks/several_processes.py --ranks 1 2 4 trainer.accelerator=gpu gan=sngan

The batch is the same over all; each process has one thread, so that 2 on 2 cores compare with 1.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from saddlepoint.gans import Game, game

ROOT = Path(__file__).resolve().parent.parent
FIRST = 5  # iterations before the clock starts
QUIET = [
    *("monitor=none", "protocol=none", "sample_every=1000000", "checkpoint_every=1000000"),
    *("gan.log_every=1000000", "~callbacks.animation", "trainer=ddp", "trainer.accelerator=cpu"),
]


class Clock(pl.Callback):
    """Writes iterations per second, and the share of the time in which gradients are averaged.

    Averaging includes the wait for the slowest process. On an accelerator it is only queued here.

    Args:
        file: where to, as JSON.
    """

    def __init__(self, file: str) -> None:
        self.file, self.averaging, self.sent = file, 0.0, 0
        average = game.average_gradients

        def timed(parameters: list) -> None:
            start = time.monotonic()
            average(parameters)
            self.averaging += time.monotonic() - start
            self.sent += sum(p.numel() * p.element_size() for p in parameters)

        game.average_gradients = timed

    def on_train_batch_end(self, trainer: pl.Trainer, module: Game, *_: Any) -> None:
        """Start, or stop and write."""
        if module.iteration == FIRST:
            self.start, self.averaging, self.sent = time.monotonic(), 0.0, 0
        if module.iteration == module.iterations and trainer.is_global_zero:
            seconds, iterations = time.monotonic() - self.start, module.iterations - FIRST
            result = {
                "rate": iterations / seconds,
                "averaging": self.averaging / seconds,
                "megabytes": self.sent / iterations / 1e6,
            }
            Path(self.file).write_text(json.dumps(result))


def measure(ranks: int, words: list[str]) -> dict[str, float]:
    """Train in so many processes; return what `Clock` wrote."""
    with tempfile.TemporaryDirectory() as folder:
        clock = f"+callbacks.clock={{_target_: several_processes.Clock, file: {folder}/clock.json}}"
        own = [*QUIET, f"trainer.devices={ranks}", f"output_dir={folder}", clock, *words]
        paths = [str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
        environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
        subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *own],
            check=True,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
        )
        return json.loads(Path(folder, "clock.json").read_text())


def main() -> None:
    """Print a row for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--iterations", type=int, default=45)
    parser.add_argument("words", nargs="*", help="settings of train.py")
    options = parser.parse_args()
    print("processes  iterations/s  in averaging  MB sent an iteration")
    for ranks in options.ranks:
        found = measure(ranks, [f"iterations={options.iterations}", *options.words])
        row = found["rate"], found["averaging"], found["megabytes"]
        print("{:9}  {:12.2f}  {:11.1%}  {:10.2f}".format(ranks, *row))


if __name__ == "__main__":
    main()
