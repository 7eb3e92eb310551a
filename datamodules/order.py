"""The order in which a run sees its data, a pure function of the seed.

The stream of reals is an endless concatenation of epochs. Epoch e holds every item once, in an
order, and with flips, that depend on (seed, e) alone; iteration i consumes the positions
[i * block_size, (i + 1) * block_size) of the stream. No state is kept, so a run may start at any
iteration, on any number of processes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from saddlepoint.randomness import keyed_generator


@dataclass(frozen=True)
class Plan:
    """What a run consumes.

    Attributes:
        seed: key of the order.
        batch_size: items of one batch, over all processes.
        batches_per_iteration: fresh batches of one iteration.
        iterations: the run ends before this iteration.
        start: first iteration.
        flip: whether half of the images are mirrored.
        rank: which of the processes this one is.
        world_size: number of processes.
        stretch: iterations that are handed over at once where their reals need not be read before.
    """

    seed: int
    batch_size: int
    batches_per_iteration: int
    iterations: int
    start: int = 0
    flip: bool = False
    rank: int = 0
    world_size: int = 1
    stretch: int = 1

    @property
    def block_size(self) -> int:
        """Items that one iteration consumes, over all processes."""
        return self.batch_size * self.batches_per_iteration


def epoch_permutation(seed: int, epoch: int, num_items: int) -> Tensor:
    """Items of one epoch in their order, (num_items,) int64."""
    return torch.randperm(num_items, generator=keyed_generator(seed, "order", epoch))


def epoch_flips(seed: int, epoch: int, num_items: int) -> Tensor:
    """For every position of one epoch, whether its image is mirrored: (num_items,) of 0 and 1."""
    return torch.randint(0, 2, (num_items,), generator=keyed_generator(seed, "flips", epoch))


def share_of_rank(positions: Tensor, batches: int, rank: int, world_size: int) -> Tensor:
    """Split each batch of a block into contiguous slices and keep those of ``rank``.

    Args:
        positions: (..., batches * batch_size), the block of one iteration.
        batches: number of batches in the block.
        rank: which slice to keep.
        world_size: number of slices; divides the batch size.

    Returns:
        (..., batches * batch_size / world_size).
    """
    if world_size == 1:
        return positions
    leading = positions.shape[:-1]
    return positions.view(*leading, batches, world_size, -1)[..., rank, :].reshape(*leading, -1)


class Order:
    """Looks up blocks of the stream; keeps the epoch at hand, on the device that gathers from it.

    Args:
        plan: what the run consumes.
        num_items: size of the data set.
        device: where the looked-up items are needed.
    """

    def __init__(self, plan: Plan, num_items: int, device: torch.device | str = "cpu") -> None:
        self.plan = plan
        self.num_items = num_items
        self.device = torch.device(device)
        self._epoch: int | None = None
        self._table = torch.empty(0)

    def block(self, iteration: int) -> Tensor:
        """What this process's share of one iteration consists of.

        Returns:
            (2, block_size / world_size) int64: item indices, and whether each is mirrored.
        """
        plan, block = self.plan, self.whole_block(iteration)
        return share_of_rank(block, plan.batches_per_iteration, plan.rank, plan.world_size)

    def whole_block(self, iteration: int) -> Tensor:
        """What one iteration consists of on all processes together, (2, block_size)."""
        first, missing = iteration * self.plan.block_size, self.plan.block_size
        pieces = []
        while missing:
            epoch, offset = divmod(first, self.num_items)
            pieces.append(self._epoch_table(epoch)[:, offset : offset + missing])
            first += pieces[-1].shape[1]
            missing -= pieces[-1].shape[1]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)

    def _epoch_table(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            items = epoch_permutation(self.plan.seed, epoch, self.num_items)
            flips = (
                epoch_flips(self.plan.seed, epoch, self.num_items)
                if self.plan.flip
                else torch.zeros_like(items)
            )
            self._epoch, self._table = epoch, queued(torch.stack((items, flips)), self.device)
        return self._table


def queued(table: Tensor, device: torch.device) -> Tensor:
    """A table on a device; from pinned memory the copy is queued behind the running work."""
    if device.type == "cuda":
        return table.pin_memory().to(device, non_blocking=True)
    return table.to(device)
