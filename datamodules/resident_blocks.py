"""Reals from memory of the training device."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from saddlepoint.datamodules.order import Order, Plan
from saddlepoint.datamodules.pixels import flip_where, to_float
from saddlepoint.datamodules.source import InMemory
from saddlepoint.items import Items


class ResidentBlocks:
    """One block for each iteration, gathered where the data lie.

    What comes from the host is the number of the iteration. The order of an epoch goes to the
    device once; gathering, flips and scaling are queued there, without a copy or a wait.

    Args:
        samples: the data set.
        plan: what the run consumes.
        device: the training device.
    """

    def __init__(self, samples: InMemory, plan: Plan, device: torch.device) -> None:
        self.plan = plan
        self.order = Order(plan, len(samples), device)
        self.images = samples.images.to(device)
        self.labels = samples.labels.to(device)
        self.attributes = None if samples.attributes is None else samples.attributes.to(device)

    def __len__(self) -> int:
        return self.plan.iterations - self.plan.start

    def __iter__(self) -> Iterator[dict[str, int]]:
        for iteration in range(self.plan.start, self.plan.iterations):
            yield {"iteration": iteration}

    def on_device(self, block: dict[str, int]) -> dict[str, Any]:
        """Gather, flip and scale the reals of one iteration."""
        items, flips = self.order.block(block["iteration"])
        reals = Items(
            image=self.images.index_select(0, items),
            label=self.labels.index_select(0, items),
        )
        if self.attributes is not None:
            reals["attributes"] = self.attributes.index_select(0, items)
        return {**block, "reals": finish(reals, flips if self.plan.flip else None)}


def finish(reals: Items, flips: Tensor | None) -> Items:
    """Flip and scale the images of a block on its device; attributes become float."""
    if flips is not None:
        reals["image"] = flip_where(reals.image, flips)
    if reals.image.dtype == torch.uint8:
        reals["image"] = to_float(reals.image)
    if "attributes" in reals:
        reals["attributes"] = reals.attributes.float()
    return reals
