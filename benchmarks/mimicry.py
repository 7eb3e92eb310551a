"""What an iteration takes, next to mimicry's own training steps on equal networks.

    pip install --no-deps torch-mimicry
    python benchmarks/mimicry.py --method infomax_gan --threads 1

An iteration is --n-dis updates of the discriminator and one of the generator. Both sides play in
turns in this process, on the same reals; their networks have the same widths and numbers of
parameters. Mimicry's are updated by its `train_step`, with Adam as its examples make it; what its
trainer does around them (loader, log, schedule) is left out. Ours is the whole iteration of the
game: schedules, keyed draws, counters and losses included.
"""

import argparse
import importlib.util
import statistics
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from bare_trainer import bare_trainer, spec_of_images
from hydra import compose, initialize_config_dir
from torch import Tensor, nn
from torch.utils.data import DataLoader

from saddlepoint.gans import GAN
from saddlepoint.items import Items
from saddlepoint.runs.build import build_game

CONF = Path(__file__).resolve().parent.parent / "conf"
#: Where mimicry's networks of 32 px are, and what its classes begin with.
METHODS = {"sngan": "SNGAN", "ssgan": "SSGAN", "infomax_gan": "InfoMaxGAN"}


class Mimicry:
    """Its generator, discriminator and optimisers.

    Args:
        method: of `METHODS`.
        widths: channels of generator and discriminator.
        n_dis: updates of the discriminator in an iteration.
    """

    def __init__(self, method: str, widths: tuple[int, int], n_dis: int) -> None:
        nets = importlib.import_module(f"torch_mimicry.nets.{method}.{method}_32")
        self.generator = getattr(nets, f"{METHODS[method]}Generator32")(ngf=widths[0])
        self.discriminator = getattr(nets, f"{METHODS[method]}Discriminator32")(ndf=widths[1])
        self.optimizers = [
            torch.optim.Adam(network.parameters(), 2e-4, betas=(0.0, 0.9))
            for network in (self.discriminator, self.generator)
        ]
        self.n_dis = n_dis
        self.log = types.SimpleNamespace(add_metric=lambda *_, **__: None)

    def iterate(self, reals: Tensor) -> None:
        """One iteration, on reals (n_dis n, 3, 32, 32)."""
        device = reals.device
        labels = torch.zeros(len(reals) // self.n_dis, dtype=torch.long, device=device)
        shared = {"log_data": self.log, "device": device, "global_step": 0}
        batches = [(batch, labels) for batch in reals.chunk(self.n_dis)]
        for batch in batches:
            self.discriminator.train_step(
                real_batch=batch, netG=self.generator, optD=self.optimizers[0], **shared
            )
        self.generator.train_step(
            real_batch=batches[-1], netD=self.discriminator, optG=self.optimizers[1], **shared
        )


def import_networks_alone() -> None:
    """Stand in for mimicry's top level, which imports its metrics and with them TensorFlow."""
    found = importlib.util.find_spec("torch_mimicry")
    if found is None:
        sys.exit("mimicry is not installed: pip install --no-deps torch-mimicry.")
    package = types.ModuleType(found.name)
    package.__path__ = found.submodule_search_locations
    sys.modules[found.name] = package


class TakeTurns(pl.Callback):
    """After every iteration of the game, one of mimicry's; both are timed."""

    def __init__(self, mimicry: Mimicry, reals: Tensor) -> None:
        self.mimicry, self.reals = mimicry, reals
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self._start = 0.0

    def on_train_start(self, *_: object) -> None:
        """Start the clock."""
        self._start = now()

    def on_train_batch_end(self, *_: object) -> None:
        """Stop it, time the other side, start it again."""
        self.ours.append(now() - self._start)
        start = now()
        self.mimicry.iterate(self.reals)
        self.theirs.append(now() - start)
        self._start = now()


def now() -> float:
    """Seconds that this process has worked; on a GPU, that have passed."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def game_of(options: argparse.Namespace) -> GAN:
    """Our game, with the settings that a run of the method has by itself but for its size."""
    settings = [
        f"gan={options.method}",
        f"gan.n_dis={options.n_dis}",
        f"batch_size={options.batch}",
        f"iterations={options.iterations}",
        f"network.generator.width={options.widths[0]}",
        f"network.discriminator.width={options.widths[1]}",
        *options.settings,
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return build_game(compose("train", overrides=settings), spec_of_images())


def parameters(*networks: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for network in networks for p in network.parameters())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=METHODS, default="sngan")
    parser.add_argument("--widths", type=int, nargs=2, default=(64, 32), metavar=("G", "D"))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--n-dis", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; default: torch's")
    parser.add_argument("settings", nargs="*", help="of our game: gan.channels_last=false ...")
    options = parser.parse_intermixed_args()
    import_networks_alone()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    game = game_of(options).to(device)
    mimicry = Mimicry(options.method, tuple(options.widths), options.n_dis)
    for network in (mimicry.generator, mimicry.discriminator):
        network.to(device)
    sizes = (
        parameters(mimicry.generator, mimicry.discriminator),
        parameters(game.generator, game.discriminator, game.terms),
    )
    reals = torch.rand(options.batch * options.n_dis, 3, 32, 32, device=device) * 2 - 1
    labels = torch.zeros(len(reals), dtype=torch.long, device=device)
    blocks: list[dict[str, Any]] = [
        {"iteration": i, "reals": Items(image=reals, label=labels)}
        for i in range(options.iterations)
    ]
    clock = TakeTurns(mimicry, reals)
    bare_trainer(device, clock).fit(game, DataLoader(blocks, batch_size=None))
    skip = max(1, options.iterations // 5)
    theirs, ours = (statistics.median(times[skip:]) for times in (clock.theirs, clock.ours))
    print(
        f"{options.method}, widths {options.widths[0]} and {options.widths[1]}, batch"
        f" {options.batch}, n_dis {options.n_dis}, {sizes[0]:,} and {sizes[1]:,} parameters:"
        f" mimicry {theirs * 1e3:.1f} ms, ours {ours * 1e3:.1f} ms an iteration,"
        f" {theirs / ours:.2f} times as fast"
    )


if __name__ == "__main__":
    main()
