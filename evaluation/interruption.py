"""A score is given up at its next batch where its process is to end."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from saddlepoint.evaluation.ranks import any_rank

Batch = TypeVar("Batch")

#: Says whether the process is to end, as after a signal.
Stopped = Callable[[], bool]


class ScoreInterruptedError(Exception):
    """A score was given up; nothing of it is recorded."""


def never() -> bool:
    """A process that nobody stops."""
    return False


def until(stopped: Stopped, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Batches of one pass, until this process is to end.

    Raises:
        ScoreInterruptedError: in place of the end, on all ranks, if any of them is to end.
    """
    for batch in batches:
        if stopped():
            break
        yield batch
    if any_rank(stopped()):
        raise ScoreInterruptedError
