"""What the frame costs: iterations of a run against the same updates written out as a bare loop.

    python benchmarks/loop.py [--block 10] [settings of train.py]

A whole run is played, with its data module, callbacks, loggers, keyed randomness and checks. After
every block of iterations the bare loop plays as many on equal networks and equal data, so that the
noise of the machine falls on both. Processor time of an iteration is printed, that of the fastest
tenth of the blocks: what else a machine does only adds to it. The bare loop knows two-player games
on latents without conditions and terms.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir

from saddlepoint.gans import GAN
from saddlepoint.runs.build import build_game
from saddlepoint.runs.current_run import CurrentRun
from saddlepoint.runs.train import train

CONF = Path(__file__).resolve().parent.parent / "conf"
POINTS = ["experiment=toy_gaussians8", "gan=sngan", "iterations=1000"]
#: What a run is asked for beside training is not the frame's; a CPU's time is what is measured.
NOTHING_ELSE = ["monitor=none", "sample_every=1000000", "checkpoint_every=1000000", "trainer=cpu"]


def bare_loop(game: GAN, reals: torch.Tensor) -> Callable[[], None]:
    """The textbook loop of an unconditional GAN without terms: nothing shared, no keys.

    Args:
        game: whose networks, losses and optimisers it plays.
        reals: the data set (N, *shape), in [-1, 1].
    """
    networks = (game.generator, game.discriminator)
    d_optimizer = game.discriminator_optimizer(game.discriminator.parameters())
    g_optimizer = game.generator_optimizer(game.generator.parameters())
    batch, average = game.batch_size, game.moving_average
    rates = [(o, [g["lr"] for g in o.param_groups]) for o in (d_optimizer, g_optimizer)]
    is_uniform = bool((game.inputs_at(range(batch)).latents.abs() <= 1).all())
    precision = game.autocast if game.uses_bfloat16 else nullcontext
    state = {"iteration": 0, "shown": 0, "position": len(reals), "order": torch.empty(0)}
    if average is not None:
        averages = list(average.networks["generator"].parameters())
        followed = list(game.generator.parameters())
        copies = list(average.networks["generator"].buffers())
        copied = list(game.generator.buffers())

    def next_reals() -> torch.Tensor:
        if state["position"] + batch > len(reals):
            state["order"], state["position"] = torch.randperm(len(reals)), 0
        first = state["position"]
        state["position"] += batch
        return reals[state["order"][first : first + batch]]

    def fakes() -> torch.Tensor:
        latents = torch.randn(batch, game.generator.latent_dim)
        if is_uniform:
            latents = torch.rand(batch, game.generator.latent_dim) * 2 - 1
        with precision():
            return game.generator(latents).float()

    def judged(images: torch.Tensor) -> torch.Tensor:
        with precision():
            return game.discriminator(images).logits.float()

    def iteration() -> None:
        progress = state["iteration"] / game.iterations
        for optimizer, initial in rates:
            for group, rate in zip(optimizer.param_groups, initial, strict=True):
                group["lr"] = rate * game.lr_schedule(progress)
        networks[0].requires_grad_(False)
        networks[1].requires_grad_(True)
        for _ in range(game.n_dis):
            images = torch.cat([next_reals(), fakes().detach()])
            real, fake = judged(images).split(batch)
            loss = game.adversarial.discriminator(real, fake)
            d_optimizer.zero_grad(set_to_none=True)
            loss.backward()
            d_optimizer.step()
        networks[0].requires_grad_(True)
        networks[1].requires_grad_(False)
        loss = game.adversarial.generator(judged(fakes()))
        g_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        g_optimizer.step()
        state["iteration"] += 1
        state["shown"] += batch * game.n_dis
        if average is not None:
            weight = 1 - average.decay(batch * game.n_dis, state["shown"], progress)
            with torch.no_grad():
                torch._foreach_lerp_(averages, followed, weight)
                for mine, theirs in zip(copies, copied, strict=True):
                    mine.copy_(theirs)

    return iteration


class Alternate(pl.Callback):
    """After every block of iterations of a run, one of the bare loop; both are timed.

    Args:
        run: that is played.
        block: iterations in a row.
    """

    counts_iterations = True

    def __init__(self, run: CurrentRun, block: int) -> None:
        self.config, self.block = run.config, block
        self.ours: list[float] = []
        self.theirs: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, game: GAN) -> None:
        """Make the bare loop; start the clock."""
        twin = build_game(self.config, trainer.datamodule.spec).to(game.device)
        twin.load_state_dict(game.state_dict())
        for module in twin.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                module.to(memory_format=torch.channels_last)
        reals = torch.cat([items.image for items in trainer.datamodule.real_batches(1024)])
        if reals.ndim == 4:
            reals = reals.contiguous(memory_format=torch.channels_last)
        self.bare = bare_loop(twin, reals)
        self._start = time.process_time()

    def on_train_batch_end(self, trainer: pl.Trainer, game: GAN, *_: Any) -> None:
        """After a block: stop the clock, time the other loop, start it again."""
        if game.iteration % self.block:
            return
        self.ours.append((time.process_time() - self._start) / self.block * 1e3)
        start = time.process_time()
        for _ in range(self.block):
            self.bare()
        self.theirs.append((time.process_time() - start) / self.block * 1e3)
        self._start = time.process_time()

    def on_train_end(self, *_: Any) -> None:
        """Print the first deciles."""
        mine, bare = (statistics.quantiles(times, n=10)[0] for times in (self.ours, self.theirs))
        print(
            f"run {mine:.3f} ms, bare loop {bare:.3f} ms an iteration:"
            f" ratio {mine / bare:.3f}, {mine - bare:+.3f} ms"
        )


def main() -> None:
    """Play a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--block", type=int, default=10, help="iterations in a row")
    parser.add_argument("settings", nargs="*", default=POINTS, help="of train.py")
    options = parser.parse_args()
    clock = (
        f"+callbacks.clock={{_target_: loop.Alternate, _partial_: true, block: {options.block}}}"
    )
    with tempfile.TemporaryDirectory() as folder:
        words = [*options.settings, *NOTHING_ELSE, f"output_dir={folder}", clock]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", overrides=words)
        train(config, words)


if __name__ == "__main__":
    main()
