"""What the shared loop costs: one iteration of the game against the same updates written out.

    python benchmarks/loop.py [--network resnet] [--iterations 100] [--batch 64] [--n-dis 5]

Both play alternating blocks in this process, on equal networks and equal data; the ratio of the
medians is printed.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl
import torch
from bare_trainer import bare_trainer, spec_of_images
from hydra import compose, initialize_config_dir
from torch.utils.data import DataLoader

from saddlepoint.gans import GAN
from saddlepoint.items import Items
from saddlepoint.runs.build import build_game

CONF = Path(__file__).resolve().parent.parent / "conf"


def written_out(game: GAN, reals: torch.Tensor) -> Callable[[], None]:
    """The textbook loop of an unconditional hinge GAN without terms: nothing shared, no keys."""
    d_optimizer = game.discriminator_optimizer(game.discriminator.parameters())
    g_optimizer = game.generator_optimizer(game.generator.parameters())
    batches = reals.split(game.batch_size)

    def fakes() -> torch.Tensor:
        latents = torch.randn(game.batch_size, game.generator.latent_dim, device=reals.device)
        with game.autocast():
            return game.generator(latents).float()

    def judged(images: torch.Tensor) -> torch.Tensor:
        with game.autocast():
            return game.discriminator(images).logits.float()

    def iteration() -> None:
        game.generator.requires_grad_(False)
        game.discriminator.requires_grad_(True)
        for real in batches:
            images = torch.cat([real, fakes().detach()])
            a, b = judged(images).split(game.batch_size)
            loss = game.adversarial.discriminator(a, b)
            d_optimizer.zero_grad(set_to_none=True)
            loss.backward()
            d_optimizer.step()
        game.generator.requires_grad_(True)
        game.discriminator.requires_grad_(False)
        loss = game.adversarial.generator(judged(fakes()))
        g_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        g_optimizer.step()

    return iteration


class Alternate(pl.Callback):
    """After every iteration of the game, one of the loop written out; both are timed."""

    def __init__(self, other: Callable[[], None]) -> None:
        self.other = other
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self._start = 0.0

    def on_train_start(self, *_: object) -> None:
        """Start the clock."""
        self._start = _now()

    def on_train_batch_end(self, *_: object) -> None:
        """Stop it, time the other loop, start it again."""
        self.ours.append(_now() - self._start)
        start = _now()
        self.other()
        self.theirs.append(_now() - start)
        self._start = _now()


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="lite")
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--n-dis", type=int, default=1)
    options = parser.parse_args()
    settings = [
        f"network={options.network}",
        "gan=sngan",
        f"gan.n_dis={options.n_dis}",
        f"batch_size={options.batch}",
        f"iterations={options.iterations}",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=settings)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    spec = spec_of_images()
    ours, theirs = (build_game(config, spec).to(device) for _ in range(2))
    for module in theirs.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    reals = torch.rand(options.batch * options.n_dis, 3, 32, 32, device=device) * 2 - 1
    reals = reals.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(len(reals), dtype=torch.long, device=device)
    blocks = [
        {"iteration": i, "reals": Items(image=reals, label=labels)}
        for i in range(options.iterations)
    ]
    clock = Alternate(written_out(theirs, reals))
    bare_trainer(device, clock).fit(ours, DataLoader(blocks, batch_size=None))
    skip = options.iterations // 5
    mine, written = (statistics.median(times[skip:]) for times in (clock.ours, clock.theirs))
    print(
        f"game {mine * 1e3:.2f} ms, written out {written * 1e3:.2f} ms an iteration,"
        f" ratio {mine / written:.3f}"
    )


if __name__ == "__main__":
    main()
