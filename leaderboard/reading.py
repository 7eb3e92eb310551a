"""Runs as their records tell them; nothing else is read, and nothing is trusted."""

import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saddlepoint.errors import UserError
from saddlepoint.records.settings import flat

FILE_NAME = "records.jsonl"
NEWEST_SCHEMA = 1


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
    protocol: dict[str, Any]
    fingerprint: str
    iteration: int
    kimg: float | None
    hours: float | None
    hardware: str
    commit: str | None
    time: str


@dataclass
class Run:
    """A trained generator, or images from elsewhere.

    Attributes:
        folder: that holds its records.
        title: names what was trained.
        method: name of the method.
        terms: what stacks on it.
        seed: of training; None if not known.
        settings: all of them, ``{"gan.n_dis": 5, ...}``; empty for images from elsewhere.
        shape: of one item.
        points: {fingerprint of the protocol: points in the order of iterations}.
        versions: of the libraries, from its last record.
    """

    folder: Path
    title: str
    method: str
    terms: tuple[str, ...]
    seed: int | None
    settings: dict[str, Any]
    shape: tuple[int, ...]
    points: dict[str, list[Point]]
    versions: dict[str, str]

    @property
    def iterations(self) -> int | None:
        """Iterations that training is to have."""
        value = self.settings.get("iterations")
        return value if isinstance(value, int) else None

    @property
    def length(self) -> int:
        """Iterations up to its last record."""
        return max(points[-1].iteration for points in self.points.values())


@dataclass
class Reading:
    """All runs found, and sentences on what could not be read."""

    runs: list[Run] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read(paths: Iterable[str | Path]) -> Reading:
    """Read all runs below ``paths``: folders of runs, folders of those, or records themselves.

    Runs may be going on: a line that is torn is left out and reported. A resumed run repeats
    iterations: of the records of one iteration the last one counts.

    Raises:
        UserError: a path is missing, or there is no record at all.
    """
    paths = [Path(path) for path in paths]
    reading = Reading()
    for file in _record_files(paths):
        contents = _contents(file, reading.problems)
        reading.runs += _runs(file, contents, reading.problems)
    if not reading.runs:
        places = ", ".join(str(path) for path in paths)
        hints = " ".join(reading.problems)
        raise UserError(
            f"There is no record of a score in {places}: give folders of runs that train.py or"
            f" evaluate.py has scored. {hints}".strip()
        )
    return reading


def _record_files(paths: list[Path]) -> list[Path]:
    files: dict[Path, Path] = {}  # a file that two paths lead to is one file
    for path in paths:
        if not path.exists():
            raise UserError(f"There is no {path}: give folders of runs, such as outputs/.")
        found = [path] if path.is_file() else sorted(path.rglob(FILE_NAME))
        files |= {file.resolve(): file for file in found if file.resolve() not in files}
    return list(files.values())


def _contents(file: Path, problems: list[str]) -> list[dict[str, Any]]:
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        problems.append(f"{file} cannot be read ({error.strerror}) and is left out.")
        return []
    contents = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            newer = content["schema"] > NEWEST_SCHEMA
        except (ValueError, TypeError, KeyError, RecursionError):
            last = " (the last, perhaps just being written)" if number == len(lines) else ""
            problems.append(f"Line {number} of {file}{last} is torn and left out.")
            continue
        if newer:
            problems.append(f"Line {number} of {file} is of a later version and left out.")
            continue
        contents.append(content)
    return contents


def _runs(file: Path, contents: list[dict[str, Any]], problems: list[str]) -> list[Run]:
    """One run if its settings are recorded; else one for each title (images from elsewhere)."""
    points: dict[str, dict[tuple[str, int], Point]] = {}
    runs: dict[str, Run] = {}
    for number, content in enumerate(contents, 1):
        try:
            about = content["run"]
            key = "" if about.get("config") else str(about["title"])
            point = _point(content)
            runs[key] = _run(file, content)
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
            problems.append(f"Record {number} of {file} is left out: it lacks or garbles {error}.")
            continue
        points.setdefault(key, {})[point.fingerprint, point.iteration] = point
    for key, run in runs.items():
        for point in sorted(points[key].values(), key=lambda point: point.iteration):
            run.points.setdefault(point.fingerprint, []).append(point)
    return list(runs.values())


def _run(file: Path, newest: dict[str, Any]) -> Run:
    """A run as its newest record describes it, without points."""
    about = newest["run"]
    config = about.get("config") or {}
    data = about.get("data") or {}
    seed = config.get("seed")
    title = printable(about.get("title") or file.parent.name)
    return Run(
        folder=file.parent,
        title=title,
        method=printable(config.get("method") or title),
        terms=tuple(printable(name) for name in config.get("terms") or {}),
        seed=seed if isinstance(seed, int) else None,
        settings=flat(config),
        shape=tuple(data.get("shape") or ()),
        points={},
        versions={printable(k): printable(v) for k, v in (newest.get("versions") or {}).items()},
    )


def _point(content: dict[str, Any]) -> Point:
    protocol = content["protocol"]
    seconds = content.get("seconds")
    commit = content.get("commit")
    return Point(
        scores={printable(k): _score(k, v, content) for k, v in content["scores"].items()},
        protocol={**protocol, "dataset": printable(protocol["dataset"])},
        fingerprint=str(content["fingerprint"]),
        iteration=int(content.get("iteration") or 0),
        kimg=_optional(content.get("kimg")),
        hours=None if seconds is None else _finite(seconds) / 3600,
        hardware=_hardware(content.get("hardware") or {}),
        commit=None if commit is None else printable(commit),
        time=printable(content.get("time") or ""),
    )


def _score(name: str, value: Any, content: dict[str, Any]) -> Score:
    """A number; where the protocol repeats the evaluation, the values by evaluation seed beside."""
    repeats = (content.get("by_evaluation_seed") or {}).get(name)
    if not repeats:
        return Score(_finite(value))
    values = [_finite(repeat) for repeat in repeats]
    spread = statistics.pstdev(values) if len(values) > 1 else None
    return Score(statistics.fmean(values), spread, len(values))


def _hardware(about: dict[str, Any]) -> str:
    device = printable(about.get("device") or "")
    if device == "cpu":
        cores = about.get("cores")
        return f"CPU, {cores} cores" if cores else "CPU"
    devices = about.get("devices") or 1
    return f"{devices} x {device}" if devices > 1 else device


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"a number ({str(value)[:40]!r})")
    return float(value)


def _optional(value: Any) -> float | None:
    return None if value is None else _finite(value)


def printable(value: Any) -> str:
    """Text without control, direction and line-breaking characters, which would garble a table."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
