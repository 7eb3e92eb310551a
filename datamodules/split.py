"""Items of a data set that belong together: those to train on, or those kept out of training."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from saddlepoint.datamodules.source import Source
from saddlepoint.datamodules.spec import DataSpec, spec_of
from saddlepoint.datamodules.workers import stream
from saddlepoint.errors import UserError
from saddlepoint.items import Items
from saddlepoint.randomness import keyed_generator


class Split:
    """A part of a data set, for evaluation.

    Args:
        name: of the part: "train", "test", or "held_out" for a share that was drawn.
        dataset: name of the data set.
        source: its items.
        num_workers: processes that read and decode.
        cache_dir: where digests are kept.
    """

    def __init__(
        self,
        name: str,
        dataset: str,
        source: Source,
        num_workers: int = 0,
        cache_dir: Path | None = None,
    ) -> None:
        self.name = name
        self.dataset = dataset
        self.source = source
        self.num_workers = num_workers
        self.cache_dir = cache_dir

    @cached_property
    def spec(self) -> DataSpec:
        """What these items are; checks all of them on first use.

        Raises:
            UserError: an item is missing or corrupt.
        """
        return spec_of(self.source, self.dataset, self.cache_dir)

    def real_batches(
        self, batch_size: int, indices: Sequence[int] | Tensor | None = None
    ) -> Iterator[Items]:
        """Items in the order of ``indices`` (all of them by default).

        Yields:
            All fields as stored, ``image`` (B, C, H, W) uint8 without flips, on the CPU; ``index``
            (B,) holds ``indices``. The last batch may be smaller.
        """
        indices = torch.arange(self.source.count) if indices is None else torch.as_tensor(indices)
        workers = 0 if self.source.in_memory else self.num_workers
        count = math.ceil(len(indices) / batch_size)
        return stream(partial(_batch, self.source, indices, batch_size), count, workers)

    def items_at(self, indices: Sequence[int] | Tensor) -> Items:
        """These items as networks get them, without flips, on the CPU."""
        return self.source.finish(self.source.read(torch.as_tensor(indices)))


def divided(source: Source, share: float) -> tuple[Source, Source]:
    """Draw a share of the items, the same for every run; returns the others, and it.

    Both keep the order of the data set.

    Raises:
        UserError: nothing remains on one side.
    """
    order = torch.randperm(source.count, generator=keyed_generator("held out"))
    count = round(share * source.count)
    if not 0 < count < source.count:
        raise UserError(
            f"datamodule.held_out={share} divides {source.count} items into {source.count - count}"
            f" and {count}: give a share that leaves some on both sides."
        )
    held_out, others = (part.sort().values for part in (order[:count], order[count:]))
    return source.only(others), source.only(held_out)


def _batch(source: Source, indices: Tensor, size: int, k: int) -> Items:
    return source.read(indices[k * size : (k + 1) * size])
