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
        return self.plan.iterations - self.plan.start

    def __iter__(self) -> Iterator[dict[str, int]]:
        for iteration in range(self.plan.start, self.plan.iterations):
            yield {"iteration": iteration}

    def on_device(self, block: dict[str, int]) -> dict[str, Any]:
        """Gather, mirror and scale the reals of one iteration."""
        items, flips = self.order.block(block["iteration"])
        stored = self.source.read(items)
        return {**block, "reals": self.source.finish(stored, flips if self.plan.flip else None)}
