"""Tensors of the several processes of a run, with gradients that flow back to where they came from.

Each rank has the loss of its own part of the batch, and the gradients of the ranks are averaged. A
loss that is no mean over single items (batch statistics, pairs of items) needs the other ranks'
items: with these functions the average is the gradient of the loss of the whole batch.
"""

from typing import Any

import torch.distributed
from torch import Tensor


def rank_and_count() -> tuple[int, int]:
    """Rank of this process, and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def of_all_ranks(rows: Tensor) -> Tensor:
    """The rows (n, ...) of all ranks, one rank's after the other's; n is the same on each."""
    return rows if rank_and_count()[1] == 1 else _Gather.apply(rows)


def mean_of_all_ranks(tensor: Tensor) -> Tensor:
    """The mean of the tensors that the ranks have, of one shape."""
    count = rank_and_count()[1]
    return tensor if count == 1 else _Sum.apply(tensor) / count


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(rank_and_count()[1])]
        torch.distributed.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        rank, count = rank_and_count()
        return _Sum.apply(gradient).chunk(count)[rank]  # its rows are in the losses of all ranks


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)
