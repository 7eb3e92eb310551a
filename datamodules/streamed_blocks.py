"""Reals through worker processes, for sets too large for the training device."""

from collections.abc import Iterator
from typing import Any

import torch

from saddlepoint.datamodules.order import Order
from saddlepoint.datamodules.source import Source
from saddlepoint.datamodules.workers import stream


class StreamedBlocks:
    """One block for each iteration, read and decoded by workers, mirrored and scaled on the device.

    A worker makes whole blocks, and a block is a function of its iteration: their content and order
    do not depend on the number of workers.

    Args:
        source: the data set.
        order: what the run consumes, on the CPU.
        num_workers: processes that read ahead; 0 reads in the training process.
        device: the training device.
    """

    def __init__(
        self, source: Source, order: Order, num_workers: int, device: torch.device
    ) -> None:
        self.source = source
        self.plan, self.order = order.plan, order
        self.num_workers = num_workers
        self.device = device

    def __len__(self) -> int:
        return self.plan.iterations - self.plan.start

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return stream(self._block, len(self), self.num_workers, self.device.type == "cuda")

    def on_device(self, block: dict[str, Any]) -> dict[str, Any]:
        """Mirror and scale the reals of one iteration."""
        return {**block, "reals": self.source.finish(block["reals"], block.pop("flips", None))}

    def _block(self, k: int) -> dict[str, Any]:
        iteration = self.plan.start + k
        items, flips = self.order.block(iteration)
        block = {"iteration": iteration, "reals": self.source.read(items)}
        return {**block, "flips": flips} if self.plan.flip else block
