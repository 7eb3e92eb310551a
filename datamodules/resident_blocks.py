"""Reals from memory of the training device."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from saddlepoint.datamodules.order import Order
from saddlepoint.datamodules.source import Source


class ResidentBlocks:
    """One block for each iteration, gathered where the data lie, in stretches as the plan has them.

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
        return len(self._starts)

    def __iter__(self) -> Iterator[dict[str, int]]:
        for iteration in self._starts:
            yield {"iteration": iteration}

    def on_device(
        self, block: dict[str, int]
    ) -> dict[str, Any] | list[Callable[[], dict[str, Any]]]:
        """The block of one iteration, or for each of a stretch a function that gathers it."""
        first, plan = block["iteration"], self.plan
        if plan.stretch == 1:
            return self._gathered(first)
        stretch = range(first, min(first + plan.stretch, plan.iterations))
        return [partial(self._gathered, iteration) for iteration in stretch]

    @property
    def _starts(self) -> range:
        return range(self.plan.start, self.plan.iterations, self.plan.stretch)

    def _gathered(self, iteration: int) -> dict[str, Any]:
        """Gather, mirror and scale the reals of one iteration."""
        items, flips = self.order.block(iteration)
        reals = self.source.finish(self.source.read(items), flips if self.plan.flip else None)
        return {"iteration": iteration, "reals": reals}
