"""Runs as their records tell them; nothing else is read."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saddlepoint.errors import UserError
from saddlepoint.records import ending
from saddlepoint.records.changes import MIDWAY, said_of_changes
from saddlepoint.records.ending import FAILED, FILES
from saddlepoint.records.reading import read_records
from saddlepoint.records.record import FILE_NAME
from saddlepoint.records.settings import flat


@dataclass(frozen=True)
class Score:
    """A score of one generator, over the seeds it was evaluated with.

    Attributes:
        mean: over evaluation seeds.
        spread: standard deviation (n) over them, as published tables have it; None with one seed.
        seeds: how many there are.
    """

    mean: float
    spread: float | None = None
    seeds: int = 1


@dataclass(frozen=True)
class Point:
    """What a run scored after one iteration under one protocol; what is not known is None."""

    scores: dict[str, Score]
    directions: dict[str, str]  # "smaller" or "larger" is better; a spread has none
    ranking: tuple[str, ...]  # scores that rank
    protocol: dict[str, Any]
    fingerprint: str
    iteration: int
    kimg: float | None
    hours: float | None
    hardware: str
    commit: str | None
    time: str
    versions: dict[str, str] = field(default_factory=dict)  # of what scored it
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)  # on the same inputs


@dataclass
class Run:
    """A trained generator, or images from elsewhere.

    Attributes:
        folder: that holds its records.
        title: names what was trained.
        method: name of the method.
        terms: what stacks on it.
        condition: kind of what its generations are asked for; None for nothing, or not known.
        seed: of training; None if not known.
        settings: all of them, ``{"gan.n_dis": 5, ...}``; empty for images from elsewhere.
        shape: of one item.
        points: {fingerprint of the protocol: points in the order of iterations}.
        versions: of the libraries, from its last record.
        parameters: {network: how many it has}, from the same.
    """

    folder: Path
    title: str
    method: str
    terms: tuple[str, ...]
    condition: str | None
    seed: int | None
    settings: dict[str, Any]
    shape: tuple[int, ...]
    points: dict[str, list[Point]]
    versions: dict[str, str]
    parameters: dict[str, int] = field(default_factory=dict)

    @property
    def iterations(self) -> int | None:
        """Iterations that training is to have."""
        value = self.settings.get("iterations")
        return value if isinstance(value, int) else None

    @property
    def length(self) -> int:
        """Iterations up to its last record."""
        return max(points[-1].iteration for points in self.points.values())


@dataclass(frozen=True)
class Failure:
    """A run that has failed, whether it has a score or not.

    Attributes:
        folder: of the run.
        sentence: why.
    """

    folder: Path
    sentence: str


@dataclass
class Reading:
    """All runs found, those that have failed, and sentences on what could not be read."""

    runs: list[Run] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read(paths: Iterable[str | Path]) -> Reading:
    """Read all runs below ``paths``: folders of runs, folders of those, or records themselves.

    Runs may be going on: a line that is torn is left out and reported. A resumed run repeats
    iterations: of the records of one iteration the last one counts.

    Raises:
        UserError: a path is missing, or there is neither a record nor a failed run.
    """
    paths = [Path(path) for path in paths]
    reading = Reading()
    for file in _files(paths, FILE_NAME):
        reading.runs += _runs(file, read_records(file, reading.problems))
    reading.failures = _failures(paths)
    if not reading.runs and not reading.failures:
        places = ", ".join(str(path) for path in paths)
        hints = " ".join(reading.problems)
        raise UserError(
            f"There is no record of a score in {places}: give folders of runs that train.py or"
            f" evaluate.py has scored. {hints}".strip()
        )
    return reading


def _files(paths: list[Path], name: str) -> list[Path]:
    files: dict[Path, Path] = {}  # a file that two paths lead to is one file
    for path in paths:
        if not path.exists():
            raise UserError(f"There is no {path}: give folders of runs, such as outputs/.")
        found = [path] if path.is_file() else sorted(path.rglob(name))
        files |= {file.resolve(): file for file in found if file.resolve() not in files}
    return list(files.values())


def _failures(paths: list[Path]) -> list[Failure]:
    folders = [file.parent for file in _files([p for p in paths if p.is_dir()], FILES[FAILED])]
    ends = {folder: ending.read(folder) for folder in folders}
    failed = {folder: end for folder, end in ends.items() if end and end.state == FAILED}
    return [Failure(folder, printable(end.sentence)) for folder, end in failed.items()]


def _runs(file: Path, records: list[dict[str, Any]]) -> list[Run]:
    """One run if its settings are recorded; else one for each title (images from elsewhere)."""
    points: dict[str, dict[tuple[str, int], Point]] = {}
    runs: dict[str, Run] = {}
    for record in records:
        about = record["run"]
        key = "" if about.get("config") else str(about.get("title"))
        known = runs[key].parameters if key in runs else {}
        runs[key], point = _run(file, record), _point(record)
        runs[key].parameters = runs[key].parameters or known
        points.setdefault(key, {})[point.fingerprint, point.iteration] = point
    for key, run in runs.items():
        for point in sorted(points[key].values(), key=lambda point: point.iteration):
            run.points.setdefault(point.fingerprint, []).append(point)
    return list(runs.values())


def _run(file: Path, newest: dict[str, Any]) -> Run:
    """A run as its newest record describes it, without points."""
    about = newest["run"]
    config = about.get("config") or {}
    seed = config.get("seed")
    changes = about.get("changes")
    title = printable(about.get("title") or file.parent.name)
    return Run(
        folder=file.parent,
        title=title,
        method=printable(config.get("method") or title),
        terms=tuple(printable(name) for name in config.get("terms") or {}),
        condition=None if about.get("condition") is None else printable(about["condition"]),
        seed=seed if isinstance(seed, int) else None,
        settings={**flat(config), **({MIDWAY: said_of_changes(changes)} if changes else {})},
        shape=tuple((about.get("data") or {}).get("shape") or ()),
        points={},
        versions={printable(k): printable(v) for k, v in (newest.get("versions") or {}).items()},
        parameters={
            printable(name): count
            for name, count in (newest.get("parameters") or {}).items()
            if isinstance(count, int)
        },
    )


def _point(record: dict[str, Any]) -> Point:
    seconds, commit = record.get("seconds"), record.get("commit")
    repeats = record.get("by_evaluation_seed") or {}
    return Point(
        scores={printable(k): _score(v, repeats.get(k)) for k, v in record["scores"].items()},
        directions={printable(name): way for name, way in record["directions"].items()},
        ranking=tuple(map(printable, record["ranking"])),
        protocol={**record["protocol"], "dataset": printable(record["protocol"]["dataset"])},
        fingerprint=record["fingerprint"],
        iteration=record.get("iteration") or 0,
        kimg=record.get("kimg"),
        hours=None if seconds is None else seconds / 3600,
        hardware=_hardware(record.get("hardware") or {}),
        commit=None if commit is None else printable(commit),
        time=printable(record.get("time") or ""),
        versions={printable(k): printable(v) for k, v in (record.get("versions") or {}).items()},
        baselines={
            printable(name): {printable(k): v for k, v in scores.items()}
            for name, scores in (record.get("baselines") or {}).items()
        },
    )


def _score(value: float, repeats: list[float] | None) -> Score:
    """A number; where the protocol repeats the evaluation, with its values by evaluation seed."""
    if not repeats:
        return Score(value)
    spread = statistics.pstdev(repeats) if len(repeats) > 1 else None
    return Score(statistics.fmean(repeats), spread, len(repeats))


def _hardware(about: dict[str, Any]) -> str:
    device = printable(about.get("device") or "")
    if device == "cpu":
        cores = about.get("cores")
        return f"CPU, {printable(cores)} cores" if cores else "CPU"
    return f"{about['devices']} x {device}" if about.get("devices", 1) > 1 else device


def printable(value: Any) -> str:
    """Text without control, direction and line-breaking characters, which would garble a table."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
