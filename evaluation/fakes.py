"""Where generated images come from: a generator, or images that some other program made."""

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.randomness import keyed_generator

#: Images in a batch whose own statistics batch norm takes, where a protocol asks for that.
BATCH_OF_STATISTICS = 64


class Fakes(Protocol):
    """Generated images, each a function of its position and the seed alone.

    Attributes:
        kind: what protocols say of them: "ema", "raw" or "images".
        count: how many there are; None if there is no end to them.
    """

    kind: str
    count: int | None

    def batches(
        self, positions: range, batch_size: int, seed: int, batch_norm: str = "eval"
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (n, *shape), uint8 or float in [-1, 1], and their classes (n,) int64.

        Args:
            positions: a contiguous part of all images; with ``batch_norm`` other than "eval" it
                starts at a multiple of ``BATCH_OF_STATISTICS``.
            batch_size: largest n.
            seed: key of the images.
            batch_norm: see `evaluation.protocol.Protocol`.
        """


class GeneratorFakes:
    """Samples of a game, see `gans.game.Game.sample`.

    Args:
        game: has ``latents_at(start, n, seed)``, ``sample(latents=, labels=)``, ``num_classes``,
            ``moving_average`` and ``sampled_generator``.
    """

    count = None

    def __init__(self, game: Any) -> None:
        self.game = game
        self.kind = "ema" if game.is_averaged else "raw"

    def batches(
        self, positions: range, batch_size: int, seed: int, batch_norm: str = "eval"
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Fakes.batches`."""
        # A batch of statistics is whole, even where the last images of it are not asked for.
        own = batch_norm != "eval"
        size = BATCH_OF_STATISTICS if own else batch_size
        for start in range(positions.start, positions.stop, size):
            wanted = min(size, positions.stop - start)
            inputs = self.game.inputs_at(range(start, start + (size if own else wanted)), seed)
            with batch_statistics(self.game.sampled()) if own else contextlib.nullcontext():
                images = self.game.sample(inputs)
            labels = inputs.get("condition")
            if labels is None or labels.is_floating_point():
                labels = torch.zeros(len(images), dtype=torch.long)
            yield images[:wanted], labels[:wanted]


class GivenFakes:
    """Images of a data module, taken in an order of the seed's where not all are wanted.

    Args:
        data: a data module, see `datamodules.base.DataModule`.
        classes: names of the real data's classes; the images' own are matched to them by name.
        wanted: how many images one evaluation takes.
    """

    kind = "images"

    def __init__(self, data: Any, classes: tuple[str, ...] = (), wanted: int | None = None) -> None:
        self.data = data
        self.count = data.spec.num_items
        self.wanted = self.count if wanted is None else wanted
        own = tuple(data.spec.classes)
        if own and classes and set(own) <= set(classes):
            self._classes = torch.tensor([classes.index(name) for name in own])
        else:
            self._classes = torch.zeros(max(len(own), 1), dtype=torch.long)

    def batches(
        self, positions: range, batch_size: int, seed: int, batch_norm: str = "eval"
    ) -> Iterator[tuple[Tensor, Tensor]]:
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
            labels = items.get("label", torch.zeros(items.count, dtype=torch.int64))
            yield items.image, self._classes[labels]


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
