"""Which scores may be compared, and how: tables of one protocol, rows over training seeds."""

import json
import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from saddlepoint.leaderboard.published import Figure
from saddlepoint.leaderboard.reading import Point, Run, Score
from saddlepoint.records.changes import MIDWAY
from saddlepoint.records.record import LARGER
from saddlepoint.records.settings import HARMLESS, is_under

#: Settings that say which repetition a run is, or where and how it is carried out; runs that differ
#: in these alone are one row.
REPETITION = (*HARMLESS, "seed", "gan.seed")

#: Libraries that compute scores; tables say where their versions are mixed.
SCORING_LIBRARIES = ("torch", "torchvision", "torch-fidelity")


@dataclass(frozen=True)
class Entry:
    """A run with the point that it enters a table with."""

    run: Run
    point: Point


@dataclass
class Row:
    """Runs of equal settings but for the seed, under one protocol.

    Attributes:
        entries: runs that the row's scores are taken over, by seed: one a seed, all come equally
            far (with ``best``: each at its best point).
        behind: runs that have not come as far; they are in no score.
        repeats: runs of a seed that is there already; they are in no score.
        settings: ``{key: value}`` that tell it from rows of the same method and terms.
        rank: from 1; equal scores share one.
    """

    entries: list[Entry]
    behind: list[Entry] = field(default_factory=list)
    repeats: list[Entry] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    rank: int = 0

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
    def progress(self) -> float | None:
        """Share of training done by the run that has most to go; None if not known."""
        shares = [e.point.iteration / e.run.iterations for e in self.entries if e.run.iterations]
        return min(1.0, *shares) if shares else None


@dataclass
class Table:
    """What may be compared: one data set, one protocol, one score to rank by.

    Attributes:
        dataset: its name.
        score: name of the score that ranks.
        direction: which way it is better, "smaller" or "larger".
        protocol: of all rows.
        fingerprint: of the protocol.
        rows: by rank.
        published: figures under a protocol of the same name; they have no rank.
        differs: what tells the protocol from those of other tables of this data and score.
        best: whether rows hold each run's best point instead of its last.
    """

    dataset: str
    score: str
    direction: str
    protocol: dict[str, Any]
    fingerprint: str
    rows: list[Row]
    published: list[Figure] = field(default_factory=list)
    differs: dict[str, Any] = field(default_factory=dict)
    best: bool = False

    @property
    def protocol_name(self) -> str | None:
        """Name of the protocol, if it has one."""
        return self.protocol.get("name")

    @property
    def mixed_versions(self) -> dict[str, list[str]]:
        """Libraries that scored its rows in more than one version, with these versions."""
        points = [entry.point for row in self.rows for entry in row.entries]
        found = {
            name: sorted({p.versions[name] for p in points if name in p.versions})
            for name in SCORING_LIBRARIES
        }
        return {name: versions for name, versions in found.items() if len(versions) > 1}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an item."""
        return self.rows[0].run.shape

    @property
    def other_scores(self) -> list[str]:
        """Scores beside the one that ranks: IS, KID, then what else there is."""
        first = ("IS", "KID")
        points = [entry.point for row in self.rows for entry in row.entries]
        # Others that rank have tables of their own; what has no direction is no score.
        found = {name for point in points for name in point.directions if name in point.scores}
        shown = found - {name for point in points for name in point.ranking}
        return [*(n for n in first if n in shown), *sorted(shown.difference(first))]


def tables(
    runs: Iterable[Run], figures: Iterable[Figure] = (), *, best: bool = False
) -> list[Table]:
    """Sort runs into tables: one for each data set, protocol and score that ranks.

    Args:
        runs: from `leaderboard.reading.read`.
        figures: published ones.
        best: take each run's best point instead of its last.
    """
    figures = list(figures)
    groups: dict[tuple[str, str, str, str], list[Entry]] = {}
    for run in runs:
        for (protocol, score, direction), points in _series(run).items():
            sign = _sign(direction)
            point = points[-1]
            if best:
                point = min(points, key=lambda p: sign * p.scores[score].mean)
            key = (point.protocol["dataset"], score, direction, protocol)
            groups.setdefault(key, []).append(Entry(run, point))
    found = [
        _table(dataset, score, direction, entries, figures, best)
        for (dataset, score, direction, _), entries in groups.items()
    ]
    for table in found:
        table.differs = _differences(table, found)
    return sorted(found, key=_order)


def identity(run: Run) -> str:
    """Equal for runs that repeat one another."""
    if not run.settings:
        return run.title
    kept = {key: value for key, value in run.settings.items() if not is_repetition(key)}
    return json.dumps(kept, sort_keys=True, default=str)


def is_repetition(key: str) -> bool:
    """Whether a setting tells repetitions of a run apart and not what is trained."""
    return is_under(key, REPETITION)


def series(run: Run, table: Table) -> list[Point]:
    """Points of a run that belong to a table, in the order of iterations."""
    protocol = _protocol_key(table.fingerprint, table.protocol)
    return _series(run).get((protocol, table.score, table.direction), [])


def _series(run: Run) -> dict[tuple[str, str, str], list[Point]]:
    """Points of a run by protocol, the score that ranks there, and its direction."""
    found: dict[tuple[str, str, str], list[Point]] = {}
    for points in run.points.values():
        for point in points:
            protocol = _protocol_key(point.fingerprint, point.protocol)
            for score in point.ranking:
                key = (protocol, score, point.directions[score])
                found.setdefault(key, []).append(point)
    return found


def _protocol_key(fingerprint: str, protocol: dict[str, Any]) -> str:
    """The protocol in full: a fingerprint that two protocols claim does not bring them together."""
    return fingerprint + json.dumps(_meaning(protocol), sort_keys=True, default=str)


def _meaning(protocol: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flat_protocol(protocol).items() if key != "name"}


def flat_protocol(protocol: dict[str, Any]) -> dict[str, Any]:
    """Protocol with the libraries' versions as entries of their own."""
    nested = {k: v for k, v in protocol.items() if isinstance(v, dict)}
    inner = {f"{k}.{name}": value for k, v in nested.items() for name, value in v.items()}
    return {k: v for k, v in protocol.items() if k not in nested} | inner


def _sign(direction: str) -> int:
    """Factor that makes less of a score better."""
    return -1 if direction == LARGER else 1


def _table(
    dataset: str,
    score: str,
    direction: str,
    entries: list[Entry],
    figures: list[Figure],
    best: bool,
) -> Table:
    by_settings: dict[str, list[Entry]] = {}
    for entry in entries:
        by_settings.setdefault(identity(entry.run), []).append(entry)
    rows = [_row(same, best) for same in by_settings.values()]
    sign = _sign(direction)
    rows.sort(key=lambda row: (sign * row.mean(score), row.run.title))
    for place, row in enumerate(rows, 1):
        before = rows[place - 2] if place > 1 else None
        tie = before is not None and before.mean(score) == row.mean(score)
        row.rank = before.rank if tie else place
    _tell_apart(rows)
    point = entries[0].point
    table = Table(dataset, score, direction, point.protocol, point.fingerprint, rows, best=best)
    table.published = sorted(
        (f for f in figures if f.fits(dataset, table.shape) and f.protocol == table.protocol_name),
        key=lambda f: _published_order(f, score, sign),
    )
    return table


def _row(entries: list[Entry], best: bool) -> Row:
    """One run a seed: the one that has come furthest, of equal ones the one scored last."""

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
    return Row(level, behind, repeats)


def _tell_apart(rows: list[Row]) -> None:
    """Name the settings in which rows of the same method and terms differ."""
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
        for row in same:
            row.settings = {key: row.run.settings.get(key) for key in shown}
            if MIDWAY in row.run.settings:  # said even of a row that stands alone
                row.settings[MIDWAY] = row.run.settings[MIDWAY]
            else:
                row.settings.pop(MIDWAY, None)


def _differences(table: Table, all_tables: list[Table]) -> dict[str, Any]:
    alike = [t for t in all_tables if (t.dataset, t.score) == (table.dataset, table.score)]
    meanings = [_meaning(t.protocol) for t in alike]
    own = _meaning(table.protocol)
    keys = dict.fromkeys(key for meaning in meanings for key in meaning)
    return {k: own.get(k) for k in keys if len({repr(m.get(k)) for m in meanings}) > 1}


def _published_order(figure: Figure, score: str, sign: int) -> tuple[bool, float, str]:
    value = figure.scores.get(score)
    return (value is None, sign * value.mean if value else 0.0, figure.method)


def _order(table: Table) -> tuple:
    """Data sets by name; FID first, and of protocols the one with most images."""
    fakes = table.protocol.get("num_fake")
    size = fakes if isinstance(fakes, int) else 0
    return (table.dataset, table.score != "FID", table.score, -size, table.fingerprint)
