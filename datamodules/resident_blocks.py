"""Reals from memory of the training device."""

from collections.abc import Iterator
from typing import Any

import torch

from saddlepoint.datamodules.order import Order
from saddlepoint.datamodules.source import Source
from saddlepoint.items import Items

#: Bytes of reals that are gathered at once, if one iteration has fewer: a core's cache holds them.
AT_ONCE = 2**20


class ResidentBlocks:
    """One block for each iteration, gathered where the data lie.

    What comes from the host is the number of the iteration. The order of an epoch goes to the
    device once; gathering, mirroring and scaling are queued there, without a copy or a wait. Small
    items, whose iteration is over as soon as these are asked for, are gathered for several
    iterations of a stretch together.

    Args:
        source: the data set, in memory.
        order: what the run consumes, on the training device.
        device: the training device.
    """

    def __init__(self, source: Source, order: Order, device: torch.device) -> None:
        self.plan, self.order = order.plan, order
        self.source = source.to(device)
        self._ahead: dict[int, Items] = {}  # reals by the iteration that will ask for them
        self._together = 1  # iterations, until the first has shown how large its reals are

    def __len__(self) -> int:
        return len(self._firsts)

    def __iter__(self) -> Iterator[dict[str, int]]:
        """The number of each iteration, or of the first of each stretch and ``until`` which."""
        for first in self._firsts:
            until = min(first + self.plan.stretch, self.plan.iterations)
            yield {"iteration": first, **({"until": until} if self.plan.stretch > 1 else {})}

    @property
    def _firsts(self) -> range:
        return range(self.plan.start, self.plan.iterations, self.plan.stretch)

    def on_device(self, block: dict[str, int]) -> dict[str, Any]:
        """Gather, mirror and scale the reals of one iteration, and of some that follow it."""
        iteration = block["iteration"]
        if iteration not in self._ahead:
            self._gather(iteration)
        return {**block, "reals": self._ahead.pop(iteration)}

    def _gather(self, first: int) -> None:
        last = max(first + 1, min(first + self._together, self.plan.iterations))
        blocks = [self.order.block(iteration) for iteration in range(first, last)]
        items, flips = torch.cat(blocks, dim=1)
        stored = self.source.read(items)
        reals = self.source.finish(stored, flips if self.plan.flip else None)
        each = reals.batches(blocks[0].shape[1])
        self._ahead = dict(zip(range(first, last), each, strict=True))
        num_bytes = sum(field.nbytes for field in self._ahead[first].values())
        self._together = max(1, min(AT_ONCE // num_bytes, self.plan.stretch))
