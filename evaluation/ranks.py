"""Several processes that share the work of one score."""

from typing import Any

import torch.distributed


def rank_and_count() -> tuple[int, int]:
    """Rank of this process, and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def share(total: int) -> range:
    """Positions out of ``range(total)`` that are this rank's: a contiguous part."""
    rank, count = rank_and_count()
    return range(rank * total // count, (rank + 1) * total // count)


def from_first_rank(value: Any) -> Any:
    """Value of the first rank, on every rank."""
    if rank_and_count()[1] == 1:
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]
