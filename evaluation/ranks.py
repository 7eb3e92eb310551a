"""Several processes that share the work of one score."""

import math
from collections.abc import Iterable
from typing import Any

import torch.distributed
from torch import Tensor

from saddlepoint.ranks import rank_and_count


def share(total: int, block: int = 1) -> range:
    """Positions out of ``range(total)`` that are this rank's: a contiguous part.

    Args:
        total: positions of all ranks.
        block: positions 0 .. block - 1, block .. 2 block - 1 and so on stay together.
    """
    rank, count = rank_and_count()
    blocks = math.ceil(total / block)
    first, end = (block * (part * blocks // count) for part in (rank, rank + 1))
    return range(min(first, total), min(end, total))


def from_all_ranks(state: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Tensors of every rank, on the CPU, in the order of ranks."""
    own = {name: tensor.cpu() for name, tensor in state.items()}
    parts = [own] * rank_and_count()[1]
    if len(parts) > 1:
        torch.distributed.all_gather_object(parts, own)
    return parts


def any_rank(flag: bool) -> bool:
    """Whether the flag is up on any rank."""
    if rank_and_count()[1] == 1:
        return flag
    flags = [False] * rank_and_count()[1]
    torch.distributed.all_gather_object(flags, flag)
    return any(flags)


def from_first_rank(value: Any) -> Any:
    """Value of the first rank, on every rank."""
    if rank_and_count()[1] == 1:
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def extremes(parts: Iterable[Tensor]) -> tuple[float, float]:
    """Smallest and largest value of all parts, over all ranks."""
    lows, highs = zip(*(part.float().aminmax() for part in parts), strict=True)
    low, high = float(min(lows)), float(max(highs))
    if rank_and_count()[1] == 1:
        return low, high
    pairs = [(low, high)] * rank_and_count()[1]
    torch.distributed.all_gather_object(pairs, (low, high))
    return min(low for low, _ in pairs), max(high for _, high in pairs)
