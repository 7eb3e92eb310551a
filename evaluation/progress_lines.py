"""How far long work has come, for files that nobody watches: a line now and then."""

import sys
import time
from collections.abc import Callable
from typing import IO

#: Seconds between two lines; what is over sooner prints none.
SECONDS = 30.0
#: Who shows on a screen how far work has come, the last one first: told what is done and left.
WATCHING: list[Callable[[str, int, int], None]] = []


class ProgressLines:
    """Prints at most one line every 30 seconds, on what has run that long.

    Args:
        file: where to; standard error by default, whatever that is when a line is due.
        clock: gives seconds.
    """

    def __init__(
        self, file: IO[str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.file, self.clock = file, clock
        self._before: tuple[str, int] = ("", 0)
        self._last = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Tell a description, how much is done, and how much there is to do."""
        now = self.clock()
        if what != self._before[0] or done <= self._before[1]:  # something begins
            self._last = now
        self._before = (what, done)
        if now - self._last >= SECONDS:
            self._last = now
            share = f" ({done / total:.0%})" if total else ""
            print(f"{what}: {done:,} of {total:,}{share}", file=self.file or sys.stderr, flush=True)


def lines_where_nobody_watches(rank: int = 0) -> Callable[[str, int, int], None] | None:
    """Tells whoever watches; else lines, if standard error is no terminal. None of later ranks."""
    if rank:
        return None
    lines = None if sys.stderr.isatty() else ProgressLines()

    def tell(what: str, done: int, total: int) -> None:
        if WATCHING:
            WATCHING[-1](what, done, total)
        elif lines is not None:
            lines(what, done, total)

    return tell
