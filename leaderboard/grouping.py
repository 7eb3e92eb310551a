"""Which scores may be compared, and how: tables of one protocol, rows over training seeds."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from saddlepoint.leaderboard.budget import Block, Budget, blocks
from saddlepoint.leaderboard.published import Figure
from saddlepoint.leaderboard.reading import Point, Run
from saddlepoint.leaderboard.rows import Entry, Row, identity, row_of, tell_apart
from saddlepoint.records.record import LARGER

#: Libraries that compute scores; tables say where their versions are mixed.
SCORING_LIBRARIES = ("torch", "torchvision", "torch-fidelity")


@dataclass
class Table:
    """What may be compared: one data set, one protocol, one score to rank by.

    Attributes:
        dataset: its name.
        score: name of the score that ranks.
        direction: which way it is better, "smaller" or "larger".
        protocol: of all rows.
        fingerprint: of the protocol.
        blocks: rows of equal budget; ranks hold within one.
        published: figures under a protocol of the same name; they have no rank.
        differs: what tells the protocol from those of other tables of this data and score.
        best: whether rows hold each run's best point instead of its last.
        references: {what: scores} of trivial ways to do the same, real images among them.
        other_weights: "raw" or "ema", if the same rows were scored with these weights as well.
        twins: {row's key: the score with those weights}.
        baseline: the row that others are compared with, if one is pinned.
    """

    dataset: str
    score: str
    direction: str
    protocol: dict[str, Any]
    fingerprint: str
    blocks: list[Block]
    published: list[Figure] = field(default_factory=list)
    differs: dict[str, Any] = field(default_factory=dict)
    best: bool = False
    references: dict[str, dict[str, float]] = field(default_factory=dict)
    other_weights: str = ""
    twins: dict[str, float] = field(default_factory=dict)
    baseline: Row | None = None

    @property
    def rows(self) -> list[Row]:
        """All rows, block after block."""
        return [row for block in self.blocks for row in block.rows]

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
    runs: Iterable[Run],
    figures: Iterable[Figure] = (),
    *,
    best: bool = False,
    budget: Budget = "kimg",
) -> list[Table]:
    """Sort runs into tables: one for each data set, protocol and score that ranks.

    Args:
        runs: from `leaderboard.reading.read`.
        figures: published ones.
        best: take each run's best point instead of its last.
        budget: what has to be equal for rows to be ordered.
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
        _table(dataset, score, direction, entries, figures, best, budget)
        for (dataset, score, direction, _), entries in groups.items()
    ]
    for table in found:
        table.differs = _differences(table, found)
        _add_twins(table, found)
    return sorted(found, key=_order)


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
    budget: Budget,
) -> Table:
    by_settings: dict[str, list[Entry]] = {}
    for entry in entries:
        by_settings.setdefault(identity(entry.run), []).append(entry)
    rows = [row_of(same, best) for same in by_settings.values()]
    tell_apart(rows)
    sign = _sign(direction)
    found = blocks(rows, budget, score, sign)
    point = entries[0].point
    table = Table(dataset, score, direction, point.protocol, point.fingerprint, found, best=best)
    table.references = _references(entries)
    table.published = sorted(
        (f for f in figures if f.fits(dataset, table.shape) and f.protocol == table.protocol_name),
        key=lambda f: _published_order(f, score, sign),
    )
    return table


def _references(entries: list[Entry]) -> dict[str, dict[str, float]]:
    """Scores of trivial ways to do the same; of several records the last one counts."""
    found: dict[str, dict[str, float]] = {}
    for entry in sorted(entries, key=lambda entry: entry.point.time):
        for name, scores in entry.point.baselines.items():
            found[name] = scores
    return found


def _add_twins(table: Table, all_tables: list[Table]) -> None:
    """What the table's rows score under the same protocol with the other weights, EMA or raw."""
    other = {"ema": "raw", "raw": "ema"}.get(str(table.protocol.get("generator")))
    same = (table.dataset, table.score, {**_meaning(table.protocol), "generator": other})
    for twin in all_tables if other else ():
        if (twin.dataset, twin.score, _meaning(twin.protocol)) == same:
            trained = {row.key: row.entries[0].point.iteration for row in table.rows}
            table.twins = {
                row.key: row.mean(twin.score)
                for row in twin.rows
                if trained.get(row.key) == row.entries[0].point.iteration
            }
            table.other_weights = other if table.twins else ""


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
