"""Results in order from worker processes."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from saddlepoint.errors import UserError


def usable_workers() -> int:
    """Worker processes that pay off on this machine: one for each usable core, at most 8."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(8, len(affinity(0)) if affinity else os.cpu_count() or 1)


def stream(
    fetch: Callable[[int], Any], count: int, num_workers: int = 0, pin_memory: bool = False
) -> Iterator[Any]:
    """Yield fetch(0), ..., fetch(count - 1), computed ahead by workers that live until the last.

    Raises:
        UserError: one of ``fetch``, with its own message.
    """
    if num_workers == 0:
        yield from map(fetch, range(count))
        return
    loader = DataLoader(
        _Calls(fetch, count),
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin_memory,
        # A generator of its own, so that the loader takes nothing from the global one.
        generator=torch.Generator(),
    )
    for result in loader:
        if isinstance(result, _Failure):
            raise UserError(result.message)
        yield result


@dataclass(frozen=True)
class _Failure:
    """A user's error on its way out of a worker; raised there it would arrive as a traceback."""

    message: str


@dataclass(frozen=True)
class _Calls(Dataset):
    fetch: Callable[[int], Any]
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> Any:
        try:
            return self.fetch(k)
        except UserError as error:
            return _Failure(str(error))
