"""The game: the training loop that every method shares.

A method says who plays and what each player minimises. Everything else is here: updates and their
order, freezing, optimisers and their schedules, precision, keyed randomness, the moving average of
the networks that sampling uses, counters, losses to log, and the state a run resumes from.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from saddlepoint.devices import forget_absent_gpus
from saddlepoint.errors import UserError
from saddlepoint.gans.distributed import average, average_gradients, running_averages
from saddlepoint.gans.loss_log import LossLog
from saddlepoint.gans.moving_average import MovingAverage
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.gans.networks.joint_spectral_norm import JointSpectralNorm
from saddlepoint.gans.networks.sync_batch_norm import synchronise
from saddlepoint.gans.optimizer_step import make_step
from saddlepoint.gans.precision import cast_to_bfloat16, runs_in_bfloat16
from saddlepoint.gans.stretch import InStretches
from saddlepoint.gans.tasks import Task
from saddlepoint.items import Items
from saddlepoint.losses.schedule import Schedule, schedule_named
from saddlepoint.losses.term import Step
from saddlepoint.losses.total import total
from saddlepoint.randomness import Draws, key_to_seed, seed_global_generators
from saddlepoint.schema import Count, Images, Natural, NotNegative, checked

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Player:
    """One side of the game.

    Attributes:
        name: its loss is the game's method ``{name}_loss(step)``.
        optimizer: makes its optimiser from the parameters of its networks.
        networks: attributes of the game that hold the modules it trains; by default the one of its
            own name. A network may belong to several players, each with an optimiser of its own.
        updates: how often it moves in one iteration.
        batches: fresh batches of reals that each of its updates gets; None: it sees those of the
            update before once more.
        judged: how many of them a critic is shown; those are what kimg counts.
        every: it moves in every so-manieth iteration only; the reals of the others pass unseen.
    """

    name: str
    optimizer: MakeOptimizer
    networks: tuple[str, ...] = ()
    updates: int = 1
    batches: int | None = 1
    judged: int = 0
    every: int = 1

    def moves_in(self, iteration: int) -> bool:
        """Whether it moves in this iteration."""
        return iteration % self.every == 0


class Game(InStretches):
    """Base class of all methods; one iteration is all players' updates once round.

    A method defines `players` and, for each, ``{name}_loss(step) -> dict[str, Tensor]``: named,
    weighted scalars whose sum is minimised. It knows neither latents nor a discriminator: what
    generators are fed is the task's, who judges is the method's.

    Args:
        networks: modules by name; each becomes the attribute of that name.
        task: what the generator is fed.
        iterations: length of the run, in iterations.
        batch_size: images per update, over all devices.
        seed: key of every random number of the run.
        lr_schedule: factor of the learning rates: "constant", "linear" (to 0 at the end), or a
            function of t in [0, 1].
        beta2_schedule: a schedule of Adam's second beta; None leaves it as it is.
        ema_half_life_kimg: half-life of the moving average in thousands of real images, or its
            schedule; 0 switches it off and the networks themselves are sampled and scored.
        ema_rampup: the half-life is at most this share of the images shown so far.
        precision: "bf16" autocast around the networks, "32", or "auto" (bf16 where it is fast).
        channels_last: keep images and convolution weights in NHWC order; "auto" does where that is
            the faster layout: on a CPU, and elsewhere with bfloat16.
        log_every: iterations between two reads of the losses.
        sync_batch_norm: where several processes share a batch, whether batch norm goes by the
            statistics of the whole of it; else each process goes by those of its own part.
        power_iterations: how often spectral norms make one: once "per_update" of any player, for
            all layers together, so that all passes of the update have the same weights; or once
            "per_pass" of a network, as published.
    """

    #: Networks that sampling uses: the moving average follows them.
    sampled_networks: ClassVar[tuple[str, ...]] = ("generator",)

    generator: Generator
    _moving: str | None

    @checked
    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        task: Task,
        *,
        iterations: Count = 100_000,
        batch_size: Images = 64,
        seed: Natural = 0,
        lr_schedule: Literal["constant", "linear"] | Schedule = "linear",
        beta2_schedule: Schedule | None = None,
        ema_half_life_kimg: NotNegative | Schedule = 0.0,
        ema_rampup: NotNegative = 0.05,
        precision: Literal["auto", "bf16", "32", 32] = "auto",
        channels_last: bool | Literal["auto"] = "auto",
        log_every: Count = 50,
        sync_batch_norm: bool = False,
        power_iterations: Literal["per_update", "per_pass"] = "per_update",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        for name, network in networks.items():
            setattr(self, name, network)
        self.task = task
        self.condition = task.condition  # a module of the game: its buffers are in checkpoints
        self.iterations = iterations
        self.batch_size = batch_size
        self.seed = seed
        self.lr_schedule = schedule_named(lr_schedule)
        self.beta2_schedule = beta2_schedule
        self.moving_average = None
        if ema_half_life_kimg:
            followed = {name: networks[name] for name in self.sampled_networks}
            self.moving_average = MovingAverage(followed, ema_half_life_kimg, ema_rampup)
        self.precision = precision
        self.channels_last = channels_last
        self.log_every = log_every
        self.sync_batch_norm = sync_batch_norm
        self.power_iterations = power_iterations

        self.iteration = 0  # finished iterations
        self.images_shown = 0  # real images that critics were shown, over all devices
        self._losses = LossLog()
        self._resumed_optimizers: dict[str, dict] | None = None

    # What a method says --------------------------------------------------------------------------

    def players(self) -> list[Player]:
        """Who plays, in the order of their moves."""
        raise AttributeError(f"{type(self).__name__} does not say who plays: define players()")

    def fill(self, data: Any) -> None:
        """Take from the data module what training needs and no checkpoint holds.

        Raises:
            UserError: the data lack it.
        """

    # One iteration -------------------------------------------------------------------------------

    def play(self, block: dict[str, Any]) -> None:
        """Play one iteration: all updates of all players, on the reals of one block."""
        if block["iteration"] != self.iteration:
            raise RuntimeError(
                f"block {block['iteration']} of the data came in iteration {self.iteration}"
            )
        # Whatever a module draws without a key of its own (dropout, say) is keyed here.
        seed_global_generators(key_to_seed(self.seed, "global", self.iteration), self.device)
        self._follow_schedules()
        batches = self._batches_of_reals(block["reals"])
        judged, reals = 0, []
        for player in self._players:
            for update in range(player.updates):
                if player.batches is not None:
                    reals = [next(batches) for _ in range(player.batches)]
                if player.moves_in(self.iteration):
                    self._give_the_move_to(player)
                    self.update(player, self._step(player, update, reals))
                    judged += player.judged * self.batch_size
        self.iteration += 1
        self.images_shown += judged
        if self._world_size > 1 and not self.sync_batch_norm:
            average(self._running_averages)  # what is sampled is one generator, not each rank's own
        if self.moving_average is not None:
            progress = self.iteration / self.iterations
            self.moving_average.update(judged, self.images_shown, progress)
        self._read_losses_when_due()

    def update(self, player: Player, step: Step) -> None:
        """Make one update of one player; a method that updates otherwise overrides it."""
        with self._weights_of_the_update(player, step):
            self.descend(player, getattr(self, f"{player.name}_loss")(step))

    def descend(self, player: Player, losses: dict[str, Tensor]) -> None:
        """Step down the gradient of the sum of these losses, averaged over the ranks."""
        for parameter in self._parameters_of[player.name]:
            parameter.grad = None
        total(losses.values()).backward()
        self.move(player, losses)

    def move(self, player: Player, losses: dict[str, Tensor]) -> None:
        """Step down the gradients that the player's parameters have, averaged over the ranks.

        Args:
            player: whose move it is.
            losses: of this update, to log.
        """
        if self._world_size > 1:
            average_gradients(self._parameters_of[player.name])
        make_step(self._optimizers[player.name])
        self._losses.add(self.iteration, player.name, losses)

    def _batches_of_reals(self, reals: Items) -> Iterator[Items]:
        formatted = reals.map(self._to_memory_format)
        return formatted.batches(self.batch_size // self._world_size)

    def _step(self, player: Player, update: int, reals: list[Items]) -> Step:
        """Gather what one update sees: its reals, and what its fakes are made from."""
        draws = Draws(
            *(self.seed, "update", self.iteration, player.name, update),
            device=self.device,
            rank=self._rank,
            world_size=self._world_size,
        )
        if self.condition is not None:
            reals = [real.but(condition=self.condition.of(real)) for real in reals]
        return Step(
            iteration=self.iteration,
            total_iterations=self.iterations,
            draws=draws,
            inputs=self.task.inputs(draws, self.batch_size // self._world_size, reals),
            reals=reals,
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

    def idle(self, player: Player, step: Step) -> Sequence[nn.Module]:
        """Modules that nothing passes through in this update."""
        return []

    def _weights_of_the_update(
        self, player: Player, step: Step
    ) -> contextlib.AbstractContextManager:
        """Compute the spectrally normalised weights now, or let every pass do so."""
        if self.power_iterations == "per_pass" or not self._spectral_norms:
            return contextlib.nullcontext()
        return self._spectral_norms.computed(without=self.idle(player, step))

    def _follow_schedules(self) -> None:
        # After t finished iterations the rate is lr0 * schedule(t / iterations): the first
        # iteration runs at lr0, the rate 0 belongs to the iteration after the last.
        progress = self.iteration / self.iterations
        factor = self.lr_schedule(progress)
        for optimizer in self._optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
                if self.beta2_schedule is not None:
                    group["betas"] = (group["betas"][0], self.beta2_schedule(progress))

    # Networks ------------------------------------------------------------------------------------

    def generate(self, inputs: Items) -> Tensor:
        """Images (n, *shape), float32, from the generator in training."""
        return self._generate(self.generator, inputs)

    def fakes(self, inputs: Items) -> Items:
        """What a critic is shown: generated images, and the ``condition`` asked of them."""
        asked = inputs.get(self.task.asked_as)
        fakes = Items(image=self.generate(inputs))
        return fakes if asked is None else fakes.but(condition=asked)

    def autocast(self) -> contextlib.AbstractContextManager:
        """bfloat16 around a network's forward pass; losses stay outside, in float32."""
        device = self.device
        return cast_to_bfloat16(device, runs_in_bfloat16(self.precision, device))

    @property
    def uses_bfloat16(self) -> bool:
        """Whether networks run in bfloat16 on this device."""
        return runs_in_bfloat16(self.precision, self.device)

    @property
    def batches_per_iteration(self) -> int:
        """Fresh batches of reals that all players together get in one iteration."""
        return sum(player.updates * (player.batches or 0) for player in self.players())

    def _generate(self, generator: nn.Module, inputs: Items) -> Tensor:
        with self.autocast():
            images = self.task.feed(generator, inputs)
        return images.float()

    @property
    def uses_channels_last(self) -> bool:
        """Whether images and convolution weights are in NHWC order on this device."""
        if self.channels_last == "auto":
            return self.device.type == "cpu" or self.uses_bfloat16
        return bool(self.channels_last)

    def _to_memory_format(self, images: Tensor) -> Tensor:
        if images.ndim == 4 and self.uses_channels_last:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    # Sampling ------------------------------------------------------------------------------------

    @property
    def is_averaged(self) -> bool:
        """Whether a moving average is sampled and scored, and not the trained weights."""
        return self.moving_average is not None

    def sampled(self, name: str = "generator") -> nn.Module:
        """A network as it is sampled and scored: its moving average where there is one."""
        if self.moving_average is None:
            return getattr(self, name)
        return self.moving_average.networks[name]

    @property
    def needs_data(self) -> bool:
        """Whether what is shown starts from real items."""
        return self.task.needs_data

    def inputs_at(self, positions: range, seed: int | None = None, data: Any = None) -> Items:
        """What the generator is fed for the samples at these positions, on the game's device.

        Args:
            positions: consecutive ones; sample i is the same whatever the samples around it.
            seed: key of the samples; the run's seed by default.
            data: a data module, where the game `needs_data`.
        """
        return self.task.shown(positions, self.seed if seed is None else seed, data).to(self.device)

    @torch.no_grad()
    def sample(self, inputs: Items) -> Tensor:
        """Images (n, *shape), float32 in [-1, 1], in eval mode, see `inputs_at`."""
        with in_mode(self.sampled(), training=False) as generator:
            return self._generate(generator, inputs)

    def pictures(
        self, positions: range, seed: int | None = None, data: Any = None
    ) -> dict[str, Tensor]:
        """Images (n, *shape) by name, for people: one name is a grid, several are its columns.

        Args:
            positions: of the samples.
            seed: key of the samples; the run's seed by default.
            data: a data module, where the game `needs_data`.
        """
        inputs = self.inputs_at(positions, seed, data)
        if self.needs_data:
            return {"input": inputs.image, "output": self.sample(inputs)}
        has_images = len(self.generator.shape) == 3
        if has_images and self.condition is not None and self.condition.num_classes:
            # One class a column, as far as the columns go.
            columns = torch.tensor(positions, device=self.device) % 8
            inputs = inputs.but(condition=columns % self.condition.num_classes)
        return {"samples": self.sample(inputs)}

    # Optimisers, losses, state -------------------------------------------------------------------

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One optimiser for each player, in the order of `players`."""
        self._players = self.players()
        self._rank, self._world_size = self.trainer.global_rank, self.trainer.world_size
        self._moving = None
        self._parameters_of: dict[str, list[nn.Parameter]] = {}
        self._optimizers: dict[str, torch.optim.Optimizer] = {}
        for player in self._players:
            networks = [getattr(self, name) for name in player.networks or (player.name,)]
            parameters = [p for network in networks for p in network.parameters()]
            optimizer = player.optimizer(parameters)
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
            self._parameters_of[player.name] = parameters
            self._optimizers[player.name] = optimizer
        if self.sync_batch_norm:
            synchronise(self)
        if self.moving_average is not None:
            originals = {name: getattr(self, name) for name in self.sampled_networks}
            self.moving_average.follow(originals)
        self._running_averages = running_averages(self)
        self._spectral_norms = JointSpectralNorm(self)
        self._make_ready()
        return list(self._optimizers.values())

    def _make_ready(self) -> None:
        """Put weights in the memory format of the images; hand resumed optimisers their state."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                for parameter in module.parameters():
                    parameter.data = self._to_memory_format(parameter.data)
        if self._resumed_optimizers is not None:
            for name, optimizer in self._optimizers.items():
                optimizer.load_state_dict(self._resumed_optimizers[name])
            self._resumed_optimizers = None
        forget_absent_gpus()

    def on_train_end(self) -> None:
        """Leave every trained parameter as a fresh module has it."""
        for parameters in self._parameters_of.values():
            for parameter in parameters:
                parameter.requires_grad_(True)

    @property
    def kimg(self) -> float:
        """Thousands of real images that critics were shown."""
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
        """Everything a run resumes from: weights, moving average, optimisers, counters.

        What else a module of the game has to remember (a clustering, the probability of an
        augmentation) it keeps in buffers, or gives by torch's ``get_extra_state``.
        """
        return {
            "modules": self.state_dict(),
            "optimizers": {name: opt.state_dict() for name, opt in self._optimizers.items()},
            "iteration": self.iteration,
            "images_shown": self.images_shown,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a run where `state` left it; optimisers follow when training starts.

        Raises:
            UserError: it is the state of another game.
        """
        try:
            self.load_state_dict(state["modules"])
        except RuntimeError as error:
            cause = str(error).strip().splitlines()[-1].strip()
            raise UserError(
                f"The weights of the checkpoint are not those of this game ({cause}): resume with"
                " the settings it was trained with."
            ) from error
        self.iteration = state["iteration"]
        self.images_shown = state["images_shown"]
        self._resumed_optimizers = state["optimizers"]


@contextlib.contextmanager
def in_mode(network: nn.Module, training: bool) -> Iterator[nn.Module]:
    """Put a network in training mode, or in eval mode, for a while."""
    was_training = network.training
    network.train(training)
    try:
        yield network
    finally:
        network.train(was_training)
