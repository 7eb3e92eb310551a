"""Tasks: what a generator is fed, in training and whenever it is shown or scored."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.items import Items
from saddlepoint.randomness import Draws

#: Draws latents (n, d).
Prior = Callable[[Draws, int, int], Tensor]

PRIORS: dict[str, Prior] = {
    "normal": lambda draws, n, d: draws.normal(n, d),  # N(0, 1)
    "uniform": lambda draws, n, d: draws.uniform(n, d) * 2 - 1,  # U(-1, 1)
}
#: Positions that are drawn under one key, so that what is shown depends on its position alone.
POSITIONS_PER_KEY = 256


class Task(ABC):
    """What the generator gets, and how it takes it.

    Attributes:
        condition: what a generation is asked for; None for nothing.
        needs_data: whether what is shown starts from real items.
    """

    needs_data: ClassVar[bool] = False
    #: Fields that items to train on must have, beside the image.
    reads: tuple[str, ...] = ()
    #: The field of its inputs that says what is asked of a generation.
    asked_as: ClassVar[str] = "condition"

    def __init__(self, condition: Condition | None = None) -> None:
        self.condition = condition

    @abstractmethod
    def inputs(self, draws: Draws, n: int, reals: Sequence[Items]) -> Items:
        """What the generator is fed in an update.

        Args:
            draws: random numbers of the update.
            n: how many fakes are wanted.
            reals: the player's real batches, if it sees some.
        """

    @abstractmethod
    def shown(self, positions: range, seed: int, data: Any = None) -> Items:
        """What the generator is fed for pictures and scores, on the CPU.

        Each item depends on its position and the seed alone.

        Args:
            positions: consecutive ones.
            seed: key of what is drawn.
            data: where items come from, if `needs_data`: see `datamodules.base.DataModule`.
        """

    @abstractmethod
    def feed(self, generator: nn.Module, inputs: Items) -> Tensor:
        """Images (n, *shape) of a generator that gets these inputs."""

    def _asked(self, draws: Draws, n: int) -> Items:
        """Conditions to ask of n fakes, as the field `asked_as`; no field where there is none."""
        if self.condition is None:
            return Items()
        return Items({self.asked_as: self.condition.draw(draws, n)})


class FromLatents(Task):
    """Latents, and a condition where there is one.

    Args:
        latent_dim: d of the latents (n, d).
        prior: a name in `PRIORS`, or a function that draws latents.
        condition: what a generation is asked for.

    Raises:
        UserError: no such prior.
    """

    def __init__(
        self, latent_dim: int, prior: str | Prior = "normal", condition: Condition | None = None
    ) -> None:
        super().__init__(condition)
        if isinstance(prior, str) and prior not in PRIORS:
            raise UserError(
                f"There is no prior '{prior}' of latents: choose of {', '.join(PRIORS)}."
            )
        self.latent_dim = latent_dim
        self.prior = prior if callable(prior) else PRIORS[prior]

    def inputs(self, draws: Draws, n: int, reals: Sequence[Items] = ()) -> Items:
        """Fresh ``latents`` (n, d), and ``condition``."""
        latents = self.prior(draws, n, self.latent_dim)
        return Items(latents=latents, **self._asked(draws, n))

    def shown(self, positions: range, seed: int, data: Any = None) -> Items:
        """``latents`` (n, d), and ``condition``; the same on every device."""
        return at_positions(positions, seed, self.inputs)

    def feed(self, generator: nn.Module, inputs: Items) -> Tensor:
        """G(z), or G(z, c)."""
        return generator(inputs.latents, inputs.get("condition"))


class FromImages(Task):
    """Real images, and what shall become of them.

    In training the images are the player's own reals; shown are held-out ones where the data have
    some, in their order and from the start again after the last.

    Args:
        condition: what an image is turned into; given to the generator as ``target``.
    """

    needs_data = True
    asked_as = "target"  # the condition of the inputs is that of the images they start from

    def inputs(self, draws: Draws, n: int, reals: Sequence[Items]) -> Items:
        """The reals, and a ``target`` for each."""
        if not reals:
            raise ValueError("a task from images needs reals: give each player some batches")
        return reals[0].but(**self._asked(draws, n))

    def shown(self, positions: range, seed: int, data: Any = None) -> Items:
        """Items of the data at these positions, and a ``target`` for each."""
        items = self.held_out_at(positions, data)
        return items.but(**at_positions(positions, seed, self._asked))

    def held_out_at(self, positions: range, data: Any) -> Items:
        """Items of the data at these positions, of those held out where there are some."""
        if data is None:
            raise ValueError("a task from images is shown on images: give the data")
        held_out = data.held_out or data
        return held_out.items_at(torch.tensor(positions) % held_out.spec.num_items)

    def feed(self, generator: nn.Module, inputs: Items) -> Tensor:
        """G(x), or G(x, target)."""
        return generator(inputs.image, inputs.get("target"))


def at_positions(positions: range, seed: int, draw: Callable[[Draws, int], Items]) -> Items:
    """What is drawn for some positions, whatever the other positions asked for.

    Drawn on the CPU, so that it is the same for every device.
    """
    first, last = positions.start // POSITIONS_PER_KEY, (positions.stop - 1) // POSITIONS_PER_KEY
    blocks = [
        draw(Draws(seed, "samples", block), POSITIONS_PER_KEY) for block in range(first, last + 1)
    ]
    offset = positions.start - first * POSITIONS_PER_KEY
    return Items.join(blocks).part(slice(offset, offset + len(positions)))
