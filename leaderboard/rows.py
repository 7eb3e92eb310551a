"""Rows of a table: runs that repeat one another, and what their scores are taken over."""

import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from saddlepoint.leaderboard.reading import Point, Run, Score
from saddlepoint.leaderboard.significance import Difference, Sample
from saddlepoint.records.changes import MIDWAY
from saddlepoint.records.settings import HARMLESS, is_under

#: Settings that say which repetition a run is, or where and how it is carried out; runs that differ
#: in these alone are one row.
REPETITION = (*HARMLESS, "seed", "gan.seed")


@dataclass(frozen=True)
class Entry:
    """A run with the point that it enters a table with."""

    run: Run
    point: Point

    def spent(self, best: bool) -> Point:
        """Where its budget is read: the point itself; the run's last where that is its best one."""
        if not best:
            return self.point
        return max((points[-1] for points in self.run.points.values()), key=lambda p: p.iteration)


@dataclass
class Row:
    """Runs of equal settings but for the seed, under one protocol.

    Attributes:
        entries: runs that the row's scores are taken over, by seed: one a seed, all come equally
            far (with ``best``: each at its best point).
        behind: runs that have not come as far; they are in no score.
        repeats: runs of a seed that is there already; they are in no score.
        settings: ``{key: value}`` that tell it from rows of the same method and terms.
        best: whether its entries are the runs' best points, and not their last.
        places: the first and the last that it may have among rows of equal budget; None where there
            is nothing to compare it with, or its training is not over.
        against: difference to the pinned baseline, if there is one.
    """

    entries: list[Entry]
    behind: list[Entry] = field(default_factory=list)
    repeats: list[Entry] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    best: bool = False
    places: tuple[int, int] | None = None
    against: Difference | None = None

    @property
    def run(self) -> Run:
        """The run that stands for the row: that of the lowest seed."""
        return self.entries[0].run

    @property
    def runs(self) -> list[Run]:
        """All runs of the row."""
        return [entry.run for entry in (*self.entries, *self.behind, *self.repeats)]

    @property
    def key(self) -> str:
        """Equal for rows of equal settings, in whatever table."""
        return identity(self.run)

    def scores(self, name: str) -> list[Score]:
        """One of its scores, for every training seed that has it."""
        return [e.point.scores[name] for e in self.entries if name in e.point.scores]

    def mean(self, name: str) -> float | None:
        """Mean over training seeds; None if no run has the score."""
        means = [score.mean for score in self.scores(name)]
        return statistics.fmean(means) if means else None

    def sample(self, name: str) -> Sample:
        """One of its scores as a sample over training seeds."""
        mean = self.mean(name)
        return Sample(
            len(self.scores(name)), 0.0 if mean is None else mean, self.training_spread(name)
        )

    def training_spread(self, name: str) -> float | None:
        """Standard deviation (n - 1) over training seeds; None with one."""
        means = [score.mean for score in self.scores(name)]
        return statistics.stdev(means) if len(means) > 1 else None

    def evaluation_spread(self, name: str) -> float | None:
        """Standard deviation over evaluation seeds of one run, its mean square over runs."""
        squares = [score.spread**2 for score in self.scores(name) if score.spread is not None]
        return math.sqrt(statistics.fmean(squares)) if squares else None

    def evaluation_seeds(self, name: str) -> int:
        """Evaluation seeds of each run; the least of them."""
        return min((score.seeds for score in self.scores(name)), default=0)

    def values(self, of: Callable[[Point], Any]) -> list[Any]:
        """Different values of something over its runs, those not known left out."""
        return list(dict.fromkeys(v for e in self.entries if (v := of(e.point)) is not None))

    @property
    def hours(self) -> float | None:
        """Mean wall-clock."""
        known = [e.point.hours for e in self.entries if e.point.hours is not None]
        return statistics.fmean(known) if known else None

    @property
    def parameters(self) -> dict[str, int]:
        """{network: how many parameters it has}, of its run's newest record that says so."""
        return self.run.parameters

    @property
    def progress(self) -> float | None:
        """Share of training done by the run that has most to go; None if not known.

        With best points it is that of the whole run, which the point was chosen from.
        """
        shares = [
            (e.run.length if self.best else e.point.iteration) / e.run.iterations
            for e in self.entries
            if e.run.iterations
        ]
        return min(1.0, *shares) if shares else None

    @property
    def is_over(self) -> bool:
        """Whether training is over, or nobody knows how long it shall be."""
        return self.progress is None or self.progress >= 1


def identity(run: Run) -> str:
    """Equal for runs that repeat one another."""
    if not run.settings:
        return run.title
    kept = {key: value for key, value in run.settings.items() if not is_repetition(key)}
    return json.dumps(kept, sort_keys=True, default=str)


def is_repetition(key: str) -> bool:
    """Whether a setting tells repetitions of a run apart and not what is trained."""
    return is_under(key, REPETITION)


def row_of(entries: list[Entry], best: bool) -> Row:
    """A row with one run a seed: the furthest one, of equal ones that which was scored last."""

    def length(entry: Entry) -> tuple[int, str]:
        return (entry.run.length if best else entry.point.iteration, entry.point.time)

    entries = sorted(entries, key=length, reverse=True)
    chosen: dict[Any, Entry] = {}
    repeats = []
    for entry in entries:
        seed = entry.run.seed if entry.run.seed is not None else str(entry.run.folder)
        if seed in chosen:
            repeats.append(entry)
        else:
            chosen[seed] = entry
    ordered = [chosen[seed] for seed in sorted(chosen, key=lambda s: (isinstance(s, str), s))]
    furthest = entries[0].point.iteration
    level = [e for e in ordered if best or e.point.iteration == furthest]
    behind = [e for e in ordered if not best and e.point.iteration < furthest]
    return Row(level, behind, repeats, best=best)


def tell_apart(rows: list[Row]) -> None:
    """Name the settings in which rows of the same method and terms differ, and any condition."""
    namesakes: dict[tuple, list[Row]] = {}
    for row in rows:
        namesakes.setdefault((row.run.method, row.run.terms), []).append(row)
    for same in namesakes.values():
        keys = dict.fromkeys(key for row in same for key in row.run.settings)
        varying = [
            key
            for key in keys
            if not is_repetition(key) and len({repr(row.run.settings.get(key)) for row in same}) > 1
        ]
        # The gan follows some settings (gan.iterations is iterations): they are named once.
        shown = [
            key
            for key in varying
            if not (key.startswith("gan.") and key.removeprefix("gan.") in varying)
        ]
        if len({row.run.condition for row in same}) > 1:  # told by its kind
            shown = [key for key in shown if key != "condition._target_"]
        for row in same:
            said = [*shown, MIDWAY]  # the last even of a row that stands alone
            asked = {"condition": row.run.condition} if row.run.condition else {}
            row.settings = asked | {k: row.run.settings[k] for k in said if k in row.run.settings}
