"""How far long work has come, and where a command prints."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress

from saddlepoint.evaluation.progress_lines import ProgressLines


def output() -> Console:
    """Standard output; wide enough for paths where it is not a terminal."""
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 120)


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show how far long computations have come: a bar on a terminal, else a line now and then.

    Yields:
        What to tell it: a description, how much is done, and how much there is to do.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield ProgressLines()
        return
    with Progress(console=console, transient=True) as bar:
        tasks = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=min(done, total))

        yield tell
