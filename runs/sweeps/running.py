"""The sweep that this process runs, from its first point to its last screen."""

import contextlib
import shutil
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from saddlepoint.atomic import write_text
from saddlepoint.errors import UserError
from saddlepoint.records import ending
from saddlepoint.runs import lock
from saddlepoint.runs.sweeps import signals
from saddlepoint.runs.sweeps.folder import (
    KILLED,
    LIST,
    WAITING,
    OtherPointError,
    Point,
    Sweep,
)

if TYPE_CHECKING:
    from rich.console import Console

BOARD = "leaderboard.html"


class _Running(contextlib.ExitStack):
    """The sweep, from where it begins: at most one in a process."""

    sweep: Sweep | None = None
    is_new = False
    names: Collection[str] = ()

    def take(self) -> Sweep | None:
        """The sweep, if there is one; from now on there is none."""
        sweep, self.sweep = self.sweep, None
        return sweep


_here = _Running()


def begin(sweep: Sweep, is_new: bool, names: Collection[str]) -> None:
    """Let the sweep have an end, see `to_its_end`.

    Args:
        sweep: that begins.
        is_new: whether its folder was not there before.
        names: of the points that the command asks for, where they are known; others may lie there.
    """
    _here.sweep, _here.is_new, _here.names = sweep, is_new, names
    _here.enter_context(signals.reach_the_points(sweep))


def to_its_end(main: Callable[[], Any]) -> None:
    """Run a Hydra main function; if it is a sweep, say in the end how its points went.

    Raises:
        SystemExit: with 1 if a point failed.
    """
    error: Exception | None = None
    try:
        with _here:
            main()
    except Exception as caught:
        error = caught
    except BaseException:
        if (sweep := _here.take()) is not None:
            _close(sweep)
        raise
    sweep = _here.take()
    if error is not None and (sweep is None or _is_unused(sweep)):
        raise error
    failed = _close(sweep) if sweep is not None else []
    if error is not None and (not failed or isinstance(error, OtherPointError)):
        raise error
    if failed:
        sys.exit(1)


def _is_unused(sweep: Sweep) -> bool:
    """Whether no point was begun; what was made for them goes."""
    if any(point.state != WAITING for point in sweep.points()):
        return False
    if _here.is_new:
        shutil.rmtree(sweep.folder)
    return True


def _close(sweep: Sweep) -> list[Point]:
    """Write down what is left to say, show the sweep's leaderboard; returns the failed points."""
    # Here, since every command begins by this module, also one that only asks for help.
    from rich import box
    from rich.panel import Panel
    from rich.table import Table

    from saddlepoint.runs.progress import output

    signals.wait_for_the_dying(sweep)
    _mark_killed(sweep)
    sweep.write_list()
    console = output()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("points", sweep.count())
    table.add_row("list", str(sweep.folder / LIST))
    if _leaderboard(sweep, console):
        table.add_row("leaderboard", str(sweep.folder / BOARD))
    console.print(Panel(table, title=f"sweep {sweep.folder.name}", box=box.ROUNDED, expand=False))
    points = [point for point in sweep.points() if not _here.names or point.name in _here.names]
    failed = [point for point in points if point.state == ending.FAILED]
    if failed:
        print(f"{len(failed)} of {len(points)} points failed:", file=sys.stderr)
        for point in failed:
            print(f"  {point.name}: {point.ending.sentence}", file=sys.stderr)
    return failed


def _leaderboard(sweep: Sweep, console: "Console") -> bool:
    """Show and write the leaderboard of the sweep; whether there is anything to compare."""
    from saddlepoint.leaderboard import published_figures, read, tables
    from saddlepoint.leaderboard.html_page import to_html
    from saddlepoint.leaderboard.terminal import show

    try:
        reading = read([sweep.folder])
    except UserError:  # nothing is scored
        return False
    figures = published_figures()
    found = tables(reading.runs, figures)
    show(found, figures, console)
    page = to_html(found, figures, reading.problems, f"Sweep {sweep.folder.name}", reading.failures)
    write_text(sweep.folder / BOARD, page, make_folder=False)
    return True


def _mark_killed(sweep: Sweep) -> None:
    """Let the folders of killed points say so: leaderboards know nothing of locks."""
    for point in sweep.points():
        if point.ending is KILLED:
            with contextlib.suppress(lock.HeldError), lock.hold(point.folder):
                if not ending.read(point.folder):
                    ending.write(point.folder, KILLED)
