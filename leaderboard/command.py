"""Compare runs: one table for each data set and protocol, from their records alone.

python leaderboard.py outputs/ --html leaderboard.html
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from saddlepoint.atomic import write_text
from saddlepoint.errors import UserError, one_line_on_ctrl_c
from saddlepoint.leaderboard import Table, flat, own_figures, published_figures, read, tables
from saddlepoint.leaderboard.baseline import pin
from saddlepoint.leaderboard.budget import BUDGETS
from saddlepoint.leaderboard.html_page import to_html
from saddlepoint.leaderboard.terminal import show, show_failures

WIDE = 200  # characters, where output goes to a file


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the leaderboard and write what is asked for; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with one_line_on_ctrl_c():
            _compare(options)
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _compare(options: argparse.Namespace) -> None:
    reading = read(options.folders)
    figures = [*published_figures(), *(f for path in options.cite for f in own_figures(path))]
    found = tables(reading.runs, figures, best=options.best, budget=options.budget)
    if options.baseline:
        pin(found, options.baseline)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    show(found, figures, console)
    show_failures(reading.failures, console)
    for problem in reading.problems:
        print(f"note: {problem}", file=sys.stderr)
    _write(options.csv, lambda: flat.to_csv(found))
    _write(options.markdown, lambda: flat.to_markdown(found))
    _write(
        options.html, lambda: to_html(found, figures, reading.problems, failures=reading.failures)
    )
    if options.wandb:
        _log_to_wandb(options.wandb, found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="leaderboard.py",
        description="Compare runs: one table for each data set and protocol, from records alone.",
    )
    parser.add_argument(
        "folders", nargs="*", default=["outputs"], help="folders of runs (default: outputs)"
    )
    parser.add_argument(
        "--best", action="store_true", help="best score of each run instead of its last one"
    )
    parser.add_argument(
        "--budget",
        choices=BUDGETS,
        default=BUDGETS[0],
        help="what is equal for rows that are ordered: kimg (default), hours on equal hardware,"
        " iterations; any orders them all",
    )
    parser.add_argument(
        "--baseline",
        metavar="ROW",
        help="show differences to this row: ssgan, 'sngan + dag', a folder",
    )
    parser.add_argument(
        "--cite",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="YAML of figures to cite beside the published ones, see docs/leaderboard.md",
    )
    parser.add_argument("--html", metavar="FILE", type=Path, help="write one self-contained page")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="write all rows, numbers in full")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write Markdown tables")
    parser.add_argument("--wandb", metavar="PROJECT", help="log all rows as a table there")
    return parser


def _write(path: Path | None, content: Callable[[], str]) -> None:
    """Write a file whole or not at all."""
    if path is None:
        return
    write_text(path, content(), make_folder=False)
    print(f"written: {path}")


def _log_to_wandb(project: str, found: list[Table]) -> None:
    from saddlepoint.runs.loggers import wandb  # offline where wandb cannot be reached

    names = flat.columns(found)
    rows = flat.rows(found)
    logger = wandb(save_dir=".", name=None, project=project)
    logger.log_table("leaderboard", names, [[row.get(name) for name in names] for row in rows])
    logger.experiment.finish()
