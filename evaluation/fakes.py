"""Where generated images come from: a generator, or images that some other program made."""

import contextlib
import copy
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.evaluation.edits import told
from saddlepoint.items import Items
from saddlepoint.randomness import keyed_generator

#: Images in a batch whose own statistics batch norm takes, where a protocol asks for that.
BATCH_OF_STATISTICS = 64


class Generated(NamedTuple):
    """Some generated images.

    Attributes:
        image: (n, *shape), uint8 or float in [-1, 1].
        label: (n,) int64, the classes they were asked to show; zeros where there are none.
        inputs: what each was made from; empty where nobody knows.
    """

    image: Tensor
    label: Tensor
    inputs: Items


class Fakes(Protocol):
    """Generated images, each a function of its position and the seed alone.

    Attributes:
        kind: what protocols say of them: "ema", "raw" or "images".
        count: how many there are; None if there is no end to them.
        source: spec of the data whose images they are made from; None where they are made from
            none.
        fields: names of the fields of their inputs.
    """

    kind: str
    count: int | None
    source: Any
    fields: frozenset[str]

    def batches(
        self, positions: range, batch_size: int, seed: int, batch_norm: str = "eval"
    ) -> Iterator[Generated]:
        """Batches of the images at some positions.

        Args:
            positions: a contiguous part of all images; with ``batch_norm`` other than "eval" it
                starts at a multiple of ``BATCH_OF_STATISTICS``.
            batch_size: largest n.
            seed: key of the images.
            batch_norm: see `evaluation.protocol.Protocol`.
        """


class GeneratorFakes:
    """What a game generates, see `gans.game.Game`.

    Args:
        game: has ``inputs_at(positions, seed, data)``, ``sample(inputs)``, ``sampled()``,
            ``condition``, ``needs_data`` and ``is_averaged``.
        data: data module that the game takes its inputs from, where it is fed with images.
        raw: take the trained weights, also where their moving average is sampled.

    Attributes:
        shots: examples that it is given of what it shall draw; None for games that take none.
    """

    count = None

    def __init__(self, game: Any, data: Any = None, raw: bool = False) -> None:
        self.game, self.data, self.raw = game, data, raw
        self.kind = "ema" if game.is_averaged and not raw else "raw"
        self.shots = getattr(getattr(game, "task", None), "shots", None)

    @property
    def source(self) -> Any:
        """Spec of what the game is fed with: held out images, where the data have some."""
        return (self.data.held_out or self.data).spec if self.game.needs_data else None

    @property
    def parameters(self) -> dict[str, int]:
        """{network: how many parameters it has}, averages left out."""
        networks = dict(self.game.named_children())
        counts = {
            name: sum(parameter.numel() for parameter in network.parameters())
            for name, network in networks.items()
            if name != "moving_average"
        }
        return {name: count for name, count in counts.items() if count}

    @property
    def with_other_weights(self) -> Self | None:
        """The trained weights, where an average of them is scored; None where there is none."""
        return type(self)(self.game, self.data, raw=True) if self.kind == "ema" else None

    @cached_property
    def fields(self) -> frozenset[str]:
        """Names of the fields of the game's inputs, and of what is known of edits."""
        return frozenset(self.inputs_at(range(1)))

    def batches(
        self, positions: range, batch_size: int, seed: int, batch_norm: str = "eval"
    ) -> Iterator[Generated]:
        """See `Fakes.batches`."""
        # A batch of statistics is whole, even where the last images of it are not asked for.
        own = batch_norm != "eval"
        size = BATCH_OF_STATISTICS if own else batch_size
        for start in range(positions.start, positions.stop, size):
            wanted = min(size, positions.stop - start)
            drawn = range(start, start + (size if own else wanted))
            inputs = self.inputs_at(drawn, seed)
            with self._weights(), self._statistics(own):
                images = self.game.sample(inputs)
            part = slice(wanted)
            yield Generated(images[part], self._classes(inputs, images)[part], inputs.part(part))

    def _statistics(self, own: bool) -> contextlib.AbstractContextManager[None]:
        """Let batch norm use each batch's own, or those that it has learned."""
        return batch_statistics(self.game.sampled()) if own else contextlib.nullcontext()

    @contextlib.contextmanager
    def _weights(self) -> Iterator[None]:
        """Let the game sample from the weights that are wanted."""
        if not self.raw:
            yield
            return
        average, self.game.moving_average = self.game.moving_average, None
        try:
            yield
        finally:
            self.game.moving_average = average

    def inputs_at(self, positions: range, seed: int = 0) -> Items:
        """What the game is fed at some positions, and what is known of edits."""
        inputs = self.game.inputs_at(positions, seed, self.data)
        return told(inputs, self.source) if self.source is not None else inputs

    def _classes(self, inputs: Items, images: Tensor) -> Tensor:
        condition = self.game.condition
        if condition is None or condition.kind != "classes":
            return torch.zeros(len(images), dtype=torch.long, device=images.device)
        # What an image is asked to become is called its target.
        return inputs[self.game.task.asked_as]


class GivenFakes:
    """Images of a data module, drawn under the seed where not all are wanted.

    Args:
        data: a data module, see `datamodules.base.DataModule`.
        classes: names of the real data's classes; the images' own are matched to them by name.
        wanted: how many images one evaluation takes.
    """

    kind = "images"
    source = None
    fields: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, data: Any, classes: tuple[str, ...] = (), wanted: int | None = None) -> None:
        self.data = data
        self.count = data.spec.num_items
        self.wanted = self.count if wanted is None else wanted
        own = tuple(data.spec.classes)
        if own and classes and set(own) <= set(classes):
            self._classes = torch.tensor([classes.index(name) for name in own])
        else:
            self._classes = torch.zeros(max(len(own), 1), dtype=torch.long)

    def drawn(self, wanted: int) -> Self:
        """The same of which one evaluation takes so many, from all over the set."""
        other = copy.copy(self)
        other.wanted = wanted
        return other

    def batches(
        self, positions: range, batch_size: int, seed: int, batch_norm: str = "eval"
    ) -> Iterator[Generated]:
        """See `Fakes.batches`."""
        if batch_norm != "eval":
            raise UserError(
                f"batch_norm={batch_norm} is a matter of the generator, and these are images: set"
                " protocol.batch_norm=eval."
            )
        order = torch.arange(self.count)
        if self.wanted < self.count:
            order = torch.randperm(self.count, generator=keyed_generator(seed, "given images"))
        chosen = order[positions.start : positions.stop]
        for items in self.data.real_batches(batch_size, chosen):
            yield Generated(items.image, self._classes[labels_of(items)], Items())


def labels_of(items: Items) -> Tensor:
    """Classes (n,) int64 of a data set's items; zeros where it has none."""
    label = items.get("label")
    return torch.zeros(items.count, dtype=torch.int64) if label is None else label


@contextlib.contextmanager
def batch_statistics(generator: nn.Module) -> Iterator[None]:
    """Let batch norm normalise by the batch it sees even in eval mode, and keep nothing of it."""
    norms = [m for m in generator.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    kept = [(norm.running_mean, norm.running_var) for norm in norms]
    for norm in norms:
        norm.running_mean = norm.running_var = None
    try:
        yield
    finally:
        for norm, (mean, variance) in zip(norms, kept, strict=True):
            norm.running_mean, norm.running_var = mean, variance
