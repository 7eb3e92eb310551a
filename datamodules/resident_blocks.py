"""Reals from memory of the training device."""

from collections.abc import Iterator
from typing import Any

import torch

from saddlepoint.datamodules.order import Order
from saddlepoint.datamodules.source import Source


class ResidentBlocks:
    """One block for each iteration, gathered where the data lie.

    What comes from the host is the number of the iteration. The order of an epoch goes to the
    device once; gathering, mirroring and scaling are queued there, without a copy or a wait.

    Args:
        source: the data set, in memory.
        order: what the run consumes, on the training device.
        device: the training device.
    """

    def __init__(self, source: Source, order: Order, device: torch.device) -> None:
        self.plan, self.order = order.plan, order
        self.source = source.to(device)

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
        """Gather, mirror and scale the reals of one iteration."""
        items, flips = self.order.block(block["iteration"])
        stored = self.source.read(items)
        return {**block, "reals": self.source.finish(stored, flips if self.plan.flip else None)}
