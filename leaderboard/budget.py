"""Rows of equal budget: only those are ordered by their score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from saddlepoint.leaderboard.rows import Row
from saddlepoint.leaderboard.significance import told_apart

#: What counts as the budget: images shown, wall-clock on equal hardware, updates, or nothing.
Budget = Literal["kimg", "hours", "iterations", "any"]
BUDGETS: tuple[Budget, ...] = ("kimg", "hours", "iterations", "any")
#: Share by which equal budgets may differ; clocks are less exact than counters.
SLACK = {"kimg": 0.02, "hours": 0.1, "iterations": 0.0}


@dataclass
class Block:
    """Rows of a table that may be compared with one another.

    Attributes:
        rows: the better first.
        budget: what they were trained for, (least, most); None where it is not known, or not asked.
        kind: of the budget.
        hardware: that they were trained on, where hours are the budget.
        is_over: whether their training is over.
    """

    rows: list[Row]
    budget: tuple[float, float] | None
    kind: Budget
    hardware: str = ""
    is_over: bool = True

    def place(self, score: str, sign: int) -> None:
        """Say which places the test leaves each row, see `leaderboard.significance`.

        Args:
            score: that ranks.
            sign: 1 where less of it is better, else -1.
        """
        if not self.is_over or len(self.rows) < 2:
            return
        samples = [row.sample(score) for row in self.rows]
        apart = told_apart(samples)
        for i, row in enumerate(self.rows):
            better = [sign * other.mean < sign * samples[i].mean for other in samples]
            ahead = sum(bool(apart[i, j]) and better[j] for j in range(len(samples)))
            behind = sum(bool(apart[i, j]) and not better[j] for j in range(len(samples)))
            row.places = (1 + ahead, len(samples) - behind)


def blocks(rows: Sequence[Row], kind: Budget, score: str, sign: int) -> list[Block]:
    """Sort rows into blocks, the longest trained first.

    Rows that are alone at their budget come after those that are not, and those whose training is
    not over last.
    """
    over = [row for row in rows if row.is_over]
    groups: dict[str, list[Row]] = {}
    for row in over:
        groups.setdefault(_hardware(row) if kind == "hours" else "", []).append(row)
    found = [
        Block(same, budget, kind, hardware)
        for hardware, group in groups.items()
        for budget, same in _level(group, kind)
    ]
    found.sort(key=lambda b: (len(b.rows) == 1, -b.budget[1] if b.budget else 1.0))
    if unfinished := [row for row in rows if not row.is_over]:
        found.append(Block(unfinished, None, kind, is_over=False))
    for block in found:
        block.rows.sort(key=lambda row: (sign * (row.mean(score) or 0.0), row.run.title))
        block.place(score, sign)
    return found


def _level(rows: list[Row], kind: Budget) -> list[tuple[tuple[float, float] | None, list[Row]]]:
    """Rows by budget; each block reaches down from its largest by the slack."""
    spent = [(_spent(row, kind), row) for row in rows]
    known = sorted([s for s in spent if s[0] is not None], key=lambda s: s[0], reverse=True)
    found: list[tuple[tuple[float, float] | None, list[Row]]] = []
    for value, row in known:
        if found and value >= found[-1][0][1] * (1 - SLACK[kind]):
            most = found[-1][0][1]
            found[-1] = ((value, most), [*found[-1][1], row])
        else:
            found.append(((value, value), [row]))
    unknown = [row for value, row in spent if value is None]
    return [*found, *([(None, unknown)] if unknown else [])]


def _spent(row: Row, kind: Budget) -> float | None:
    if kind == "any":
        return None
    of = kind.removesuffix("s") if kind == "iterations" else kind
    values = [getattr(entry.spent(row.best), of) for entry in row.entries]
    known = [value for value in values if value]
    return max(known, default=None)


def _hardware(row: Row) -> str:
    return ", ".join(row.values(lambda point: point.hardware or None))
