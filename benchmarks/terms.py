"""What a term costs: one iteration with it, against one of plain SNGAN.

    python benchmarks/terms.py [--network lite] [--width 64] [--rounds 5] [--iterations 8]

The games take turns, a few iterations each, in this process; the median of an iteration's time over
all turns is compared with SNGAN's.
"""

import argparse
import logging
import statistics
import time
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from bare_trainer import bare_trainer, spec_of_images
from hydra import compose, initialize_config_dir
from torch.utils.data import DataLoader

from saddlepoint.gans import Game
from saddlepoint.items import Items
from saddlepoint.runs.build import build_game

CONF = Path(__file__).resolve().parent.parent / "conf"
STACKS = {
    "SNGAN": "",
    "SSGAN": "rotation",
    "InfoMax-GAN": "infomax",
    "DAG-GAN": "dag",
    "MS-GAN": "multi_class",
    "InfoMax + DAG": "infomax,dag",
}


class Clock(pl.Callback):
    """Times every iteration but the first of a turn."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._start: float | None = None

    def on_train_start(self, *_: object) -> None:
        """A turn begins."""
        self._start = None

    def on_train_batch_end(self, *_: object) -> None:
        """An iteration ends."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._start is not None:
            self.seconds.append(now - self._start)
        self._start = now


def take_turn(game: Game, iterations: int, clock: Clock, device: torch.device) -> None:
    """Play ``iterations`` more iterations on the same random images."""
    n = game.batches_per_iteration * game.batch_size
    images = torch.rand(n, *game.generator.shape, device=device) * 2 - 1
    labels = torch.zeros(n, dtype=torch.long, device=device)
    blocks = [
        {"iteration": game.iteration + i, "reals": Items(image=images, label=labels)}
        for i in range(iterations)
    ]
    bare_trainer(device, clock).fit(game, DataLoader(blocks, batch_size=None))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="lite")
    parser.add_argument("--width", type=int, help="of both networks; their own by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=8, help="of a turn")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--n-dis", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    games, clocks = {}, {name: Clock() for name in STACKS}
    for name, terms in STACKS.items():
        settings = [
            "gan=sngan",
            f"network={options.network}",
            "network.discriminator.pooling=sum",
            f"terms=[{terms}]",
            f"gan.n_dis={options.n_dis}",
            f"batch_size={options.batch}",
        ]
        if options.width:
            settings += [
                f"network.{n}.width={options.width}" for n in ("generator", "discriminator")
            ]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", overrides=settings)
        games[name] = build_game(config, spec_of_images())
    for _ in range(options.rounds):
        for name, game in games.items():
            take_turn(game, options.iterations, clocks[name], device)
    medians = {name: statistics.median(clock.seconds) for name, clock in clocks.items()}
    for name, seconds in medians.items():
        ratio = seconds / medians["SNGAN"]
        print(f"{name:14} {seconds * 1e3:8.1f} ms an iteration   {ratio:5.2f} x SNGAN")


if __name__ == "__main__":
    main()
