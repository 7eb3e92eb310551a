"""A row that all others of its block are compared with."""

from collections.abc import Iterable

from saddlepoint.errors import UserError
from saddlepoint.leaderboard import text
from saddlepoint.leaderboard.grouping import Table
from saddlepoint.leaderboard.rows import Row
from saddlepoint.leaderboard.significance import difference


def pin(tables: Iterable[Table], wanted: str) -> None:
    """Give every row its difference to the baseline, where both have one budget.

    Args:
        tables: which are changed.
        wanted: what a row is called (``ssgan``, ``sngan + rotation``), or the name of the folder of
            one of its runs.

    Raises:
        UserError: no row is called so, or several of one table are.
    """
    tables = list(tables)
    for table in tables:
        found = [row for row in table.rows if _is_called(row, wanted)]
        if len(found) > 1:
            names = "; ".join(text.row_name(row) for row in found)
            raise UserError(
                f"--baseline {wanted} means several rows of {text.heading(table)}: {names}. Name"
                " one in full, or the folder of one of its runs."
            )
        for row in found:
            table.baseline = row
            _compare(table, row)
    if not any(table.baseline for table in tables):
        known = dict.fromkeys(_name(row) for table in tables for row in table.rows)
        raise UserError(
            f"There is no row '{wanted}' for --baseline: choose of {', '.join(known)}, or name the"
            " folder of a run."
        )


def _compare(table: Table, baseline: Row) -> None:
    (block,) = [block for block in table.blocks if baseline in block.rows]
    reference = baseline.sample(table.score)
    for row in block.rows:
        if row is not baseline:
            row.against = difference(row.sample(table.score), reference)


def _is_called(row: Row, wanted: str) -> bool:
    folders = {run.folder.name for run in row.runs}
    return wanted in ({_name(row), text.row_name(row), "+".join(_parts(row))} | folders)


def _name(row: Row) -> str:
    return " + ".join(_parts(row))


def _parts(row: Row) -> list[str]:
    return [row.run.method, *row.run.terms]
