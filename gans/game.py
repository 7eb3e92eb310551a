"""The game: the training loop that every method shares.

A method says who plays and what each player minimises. Everything else is here: updates and their
order, freezing, optimisers and their schedule, precision, keyed randomness, the moving average of
the generator, counters, losses to log, and the state a run resumes from.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from saddlepoint.gans.distributed import average_gradients
from saddlepoint.gans.loss_log import LossLog
from saddlepoint.gans.moving_average import MovingAverage
from saddlepoint.gans.precision import has_fast_bfloat16
from saddlepoint.items import Items
from saddlepoint.losses.term import Step
from saddlepoint.randomness import Draws, key_to_seed

#: Factor on every learning rate as a function of t = finished iterations / all iterations.
LR_SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "linear": lambda t: 1.0 - t,
}
#: Latents that `Game.sample` draws under one key, so that a sample depends on its position alone.
LATENTS_PER_KEY = 256

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Player:
    """One side of the game.

    Attributes:
        name: its loss is the game's method ``{name}_loss(step)``.
        networks: attributes of the game that hold the modules it trains.
        optimizer: makes its optimiser from their parameters.
        updates: how often it moves in one iteration.
        sees_reals: whether each of its updates gets a fresh batch of reals.
    """

    name: str
    networks: tuple[str, ...]
    optimizer: MakeOptimizer
    updates: int = 1
    sees_reals: bool = True


class Game(pl.LightningModule):
    """Base class of all methods; one `training_step` is one iteration, all players' updates once.

    A method defines `players` and, for each, ``{name}_loss(step) -> dict[str, Tensor]``: named,
    weighted scalars whose sum is minimised.

    Args:
        generator: maps latents (n, latent_dim) and labels to images (n, *shape) in [-1, 1].
        iterations: length of the run, in iterations.
        batch_size: images per update, over all devices.
        seed: key of every random number of the run.
        latent_prior: "normal" for N(0, 1), "uniform" for U(-1, 1).
        lr_schedule: "constant", "linear" (to 0 at the end), or a function of t in [0, 1].
        ema_half_life_kimg: half-life of the generator's moving average in thousands of real
            images; 0 switches it off and the generator itself is sampled and scored.
        ema_rampup: the half-life is at most this share of the images shown so far.
        precision: "bf16" autocast around the networks, "32", or "auto" (bf16 where it is fast).
        channels_last: keep images and convolution weights in NHWC order; "auto" follows precision.
        log_every: iterations between two reads of the losses.
    """

    def __init__(
        self,
        generator: nn.Module,
        *,
        iterations: int = 100_000,
        batch_size: int = 64,
        seed: int = 0,
        latent_prior: str = "normal",
        lr_schedule: str | Callable[[float], float] = "linear",
        ema_half_life_kimg: float = 0.0,
        ema_rampup: float = 0.05,
        precision: str = "auto",
        channels_last: bool | str = "auto",
        log_every: int = 50,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = generator
        self.iterations = iterations
        self.batch_size = batch_size
        self.seed = seed
        self.latent_prior = latent_prior
        self.lr_schedule = (
            LR_SCHEDULES[lr_schedule] if isinstance(lr_schedule, str) else lr_schedule
        )
        self.moving_average = (
            MovingAverage(generator, ema_half_life_kimg, ema_rampup) if ema_half_life_kimg else None
        )
        self.precision = precision
        self.channels_last = channels_last
        self.log_every = log_every

        self.iteration = 0  # finished iterations
        self.images_shown = 0  # real images, over all devices
        self._losses = LossLog()
        self._resumed_optimizers: dict[str, dict] | None = None

    # What a method says --------------------------------------------------------------------------

    def players(self) -> list[Player]:
        """Who plays, in the order of their moves."""
        raise AttributeError(f"{type(self).__name__} does not say who plays: define players()")

    # One iteration -------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Play one iteration: all updates of all players, on the reals of one block."""
        if batch["iteration"] != self.iteration:
            raise RuntimeError(
                f"block {batch['iteration']} of the data came in iteration {self.iteration}"
            )
        # Whatever a module draws without a key of its own (dropout, say) is keyed here.
        torch.manual_seed(key_to_seed(self.seed, "global", self.iteration))
        self._set_learning_rates()
        reals = self._batches_of_reals(batch)
        for player in self._players:
            self._give_the_move_to(player)
            optimizer = self._optimizers[player.name]
            for update in range(player.updates):
                step = self._step(player, update, next(reals) if player.sees_reals else {})
                losses = getattr(self, f"{player.name}_loss")(step)
                optimizer.zero_grad(set_to_none=True)
                sum(losses.values()).backward()
                if self.trainer.world_size > 1:
                    average_gradients(self._parameters_of[player.name])
                optimizer.step()
                self._losses.add(self.iteration, player.name, losses)
        self.iteration += 1
        shown = self.batch_size * self.real_batches_per_iteration
        self.images_shown += shown
        if self.moving_average is not None:
            self.moving_average.update(self.generator, shown, self.images_shown)
        self._read_losses_when_due()

    def _batches_of_reals(self, batch: dict[str, Any]) -> Any:
        size = self.batch_size // self.trainer.world_size
        reals = batch["reals"]
        images = self._to_memory_format(reals.image)
        fields = {"real": images, "labels": reals.label, "attributes": reals.get("attributes")}
        for start in range(0, len(images), size):
            yield {k: v[start : start + size] for k, v in fields.items() if v is not None}

    def _step(self, player: Player, update: int, reals: dict[str, Tensor]) -> Step:
        """Gather what one update sees: its reals, and fresh latents and labels for its fakes."""
        trainer = self.trainer
        draws = Draws(
            *(self.seed, "update", self.iteration, player.name, update),
            device=self.device,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        n = self.batch_size // trainer.world_size
        latents = self._latents(draws, n)
        labels = draws.integers(n, self.num_classes) if self.num_classes else None
        return Step(
            iteration=self.iteration,
            total_iterations=self.iterations,
            draws=draws,
            latents=latents,
            fake_labels=labels,
            **reals,
        )

    def _give_the_move_to(self, player: Player) -> None:
        """Only the moving player's parameters take gradients."""
        if player.name == self._moving:
            return
        for parameters in self._parameters_of.values():
            for parameter in parameters:
                parameter.requires_grad_(False)
        for parameter in self._parameters_of[player.name]:
            parameter.requires_grad_(True)
        self._moving = player.name

    def _set_learning_rates(self) -> None:
        # After t finished iterations the rate is lr0 * schedule(t / iterations): the first
        # iteration runs at lr0, the rate 0 belongs to the iteration after the last.
        factor = self.lr_schedule(self.iteration / self.iterations)
        for optimizer in self._optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    # Networks ------------------------------------------------------------------------------------

    def generate(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (n, *shape), float32, from the generator in training."""
        with self.autocast():
            images = self.generator(latents, labels)
        return images.float()

    def autocast(self) -> torch.autocast:
        """bfloat16 around a network's forward pass; losses stay outside, in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.uses_bfloat16)

    @property
    def uses_bfloat16(self) -> bool:
        """Whether networks run in bfloat16 on this device."""
        if self.precision == "auto":
            return has_fast_bfloat16(self.device)
        return self.precision == "bf16"

    @property
    def num_classes(self) -> int:
        """Classes the generator is conditioned on; 0 if it is not."""
        return self.generator.num_classes

    @property
    def real_batches_per_iteration(self) -> int:
        """Fresh batches of reals that all players together see in one iteration."""
        return sum(player.updates for player in self.players() if player.sees_reals)

    def _latents(self, draws: Draws, n: int) -> Tensor:
        if self.latent_prior == "uniform":
            return draws.uniform(n, self.generator.latent_dim) * 2 - 1
        return draws.normal(n, self.generator.latent_dim)

    def _to_memory_format(self, images: Tensor) -> Tensor:
        channels_last = self.uses_bfloat16 if self.channels_last == "auto" else self.channels_last
        if channels_last and images.ndim == 4:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    # Sampling ------------------------------------------------------------------------------------

    @property
    def sampled_generator(self) -> nn.Module:
        """What is sampled and scored: the moving average where there is one."""
        return self.generator if self.moving_average is None else self.moving_average.average

    def latents_at(self, start: int, n: int, seed: int | None = None) -> tuple[Tensor, Tensor]:
        """Latents (n, d) and labels (n,) of samples start .. start + n - 1, functions of position.

        Labels are uniform over the classes (0 for an unconditional generator).
        """
        latents, labels = [], []
        first, last = start // LATENTS_PER_KEY, (start + n - 1) // LATENTS_PER_KEY
        for block in range(first, last + 1):
            # Drawn on the CPU: the same samples on every device.
            draws = Draws(self.seed if seed is None else seed, "samples", block)
            latents.append(self._latents(draws, LATENTS_PER_KEY))
            labels.append(draws.integers(LATENTS_PER_KEY, max(self.num_classes, 1)))
        part = slice(start - first * LATENTS_PER_KEY, start - first * LATENTS_PER_KEY + n)
        return torch.cat(latents)[part].to(self.device), torch.cat(labels)[part].to(self.device)

    def inputs_at(self, positions: range, seed: int | None = None, data: Any = None) -> Items:
        """What the generator is fed for samples at ``positions``: latents, and classes if any."""
        latents, labels = self.latents_at(positions.start, len(positions), seed)
        return Items(latents=latents, **({"condition": labels} if self.num_classes else {}))

    @property
    def needs_data(self) -> bool:
        """Whether `inputs_at` needs data: latents need none."""
        return False

    @property
    def condition(self) -> SimpleNamespace:
        """What generations are asked for: its ``kind`` and ``num_classes``."""
        kind = "classes" if self.num_classes else "none"
        return SimpleNamespace(kind=kind, num_classes=self.num_classes)

    @property
    def is_averaged(self) -> bool:
        """Whether what is sampled is a moving average."""
        return self.moving_average is not None

    @torch.no_grad()
    def sample(
        self,
        n: int | Items | None = None,
        *,
        start: int = 0,
        seed: int | None = None,
        latents: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Tensor:
        """Sample images (n, *shape), float32 in [-1, 1], in eval mode.

        Args:
            n: how many, or what `inputs_at` gives; not needed with ``latents``.
            start: position of the first one; sample i is the same whatever the batch around it.
            seed: key of the samples; the run's seed by default.
            latents: (n, d), instead of drawn ones.
            labels: (n,), instead of drawn ones.
        """
        if isinstance(n, Items):
            latents, labels = n.latents, n.get("condition")
        if latents is None:
            latents, drawn = self.latents_at(start, n, seed)
            labels = drawn if labels is None else labels
        generator = self.sampled_generator
        was_training = generator.training
        generator.eval()
        try:
            with self.autocast():
                images = generator(latents, labels if self.num_classes else None)
        finally:
            generator.train(was_training)
        return images.float()

    # Optimisers, losses, state -------------------------------------------------------------------

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One optimiser for each player, in the order of `players`."""
        self._players = self.players()
        self._moving: str | None = None
        self._parameters_of: dict[str, list[nn.Parameter]] = {}
        self._optimizers: dict[str, torch.optim.Optimizer] = {}
        for player in self._players:
            parameters = [p for name in player.networks for p in getattr(self, name).parameters()]
            optimizer = player.optimizer(parameters)
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
            self._parameters_of[player.name] = parameters
            self._optimizers[player.name] = optimizer
        return list(self._optimizers.values())

    def on_fit_start(self) -> None:
        """Put weights in the memory format of the images; hand resumed optimisers their state."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                for parameter in module.parameters():
                    parameter.data = self._to_memory_format(parameter.data)
        if self._resumed_optimizers is not None:
            for name, optimizer in self._optimizers.items():
                optimizer.load_state_dict(self._resumed_optimizers[name])
            self._resumed_optimizers = None

    def on_train_end(self) -> None:
        """Leave every trained parameter as a fresh module has it."""
        for parameters in self._parameters_of.values():
            for parameter in parameters:
                parameter.requires_grad_(True)

    @property
    def kimg(self) -> float:
        """Thousands of real images shown."""
        return self.images_shown / 1000

    def read_losses(self) -> None:
        """Fetch the losses since the last read and log their means; the only wait for the device.

        Raises:
            DivergedError: a loss is NaN or infinite; names the term and the iteration.
        """
        means = self._losses.read()
        if means:
            for logger in self.trainer.loggers:
                logger.log_metrics({**means, "kimg": self.kimg}, step=self.iteration)

    @property
    def last_losses(self) -> dict[str, float]:
        """Means of the losses at the last read."""
        return self._losses.last

    def _read_losses_when_due(self) -> None:
        if self.device.type == "cpu":
            self._losses.check()
        if self.iteration % self.log_every == 0 or self.iteration == self.iterations:
            self.read_losses()

    def state(self) -> dict[str, Any]:
        """Everything a run resumes from: weights, moving average, optimisers, counters."""
        return {
            "modules": self.state_dict(),
            "optimizers": {name: opt.state_dict() for name, opt in self._optimizers.items()},
            "iteration": self.iteration,
            "images_shown": self.images_shown,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a run where `state` left it; optimisers follow when training starts."""
        self.load_state_dict(state["modules"])
        self.iteration = state["iteration"]
        self.images_shown = state["images_shown"]
        self._resumed_optimizers = state["optimizers"]
