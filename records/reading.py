"""Records as others find them: nothing in a file is trusted, and old layouts come as new ones."""

import json
import logging
import math
from pathlib import Path
from typing import Any

from saddlepoint.records import first_schema
from saddlepoint.records.record import LARGER, SCHEMA, SMALLER

log = logging.getLogger(__name__)


def read_records(path: Path, problems: list[str] | None = None) -> list[dict[str, Any]]:
    """Records of a file, in the order they were written and in the newest layout.

    Runs may be going on: a line that is torn is left out, as is one of a later version or one that
    lacks or garbles what a record holds. What is not known is None or empty.

    Args:
        path: the file; without it there are no records.
        problems: gets a sentence on all that is left out; without a list the log has them.
    """
    if not path.exists():
        return []
    problem = log.warning if problems is None else problems.append
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        problem(f"{path} cannot be read ({error.strerror}) and is left out.")
        return []
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            newer = content["schema"] > SCHEMA
        except (ValueError, TypeError, KeyError, RecursionError):
            last = " (the last, perhaps just being written)" if number == len(lines) else ""
            problem(f"Line {number} of {path}{last} is torn and left out.")
            continue
        if newer:
            problem(f"Line {number} of {path} is of a later version and left out.")
            continue
        try:
            records.append(_checked(content))
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
            problem(f"Line {number} of {path} is left out: it lacks or garbles {error}.")
    return records


def _checked(content: dict[str, Any]) -> dict[str, Any]:
    """A record of the newest layout; whoever reads it need not ask for types again."""
    scores = {name: _finite(value) for name, value in content["scores"].items()}
    repeats = _dict_or_none(content, "by_evaluation_seed") or {}
    directions, ranking = _what_ranks(content, scores)
    protocol, run = _dict(content, "protocol"), _dict(content, "run")
    data = _dict_or_none(run, "data") or {}
    config = _dict_or_none(run, "config") or {}
    _dict_or_none(config, "terms")
    hardware = _dict_or_none(content, "hardware")
    if hardware is not None:
        hardware = {**hardware, "devices": int(_finite(hardware.get("devices") or 1))}
    iteration = content.get("iteration")
    return {
        **content,
        "schema": SCHEMA,
        "scores": scores,
        "directions": directions,
        "ranking": ranking,
        "by_evaluation_seed": {
            name: [_finite(value) for value in values] for name, values in repeats.items()
        },
        "protocol": {**protocol, "dataset": str(protocol["dataset"])},
        "fingerprint": str(content["fingerprint"]),
        "iteration": None if iteration is None else int(_finite(iteration)),
        "kimg": _number(content, "kimg"),
        "seconds": _number(content, "seconds"),
        "run": {
            **run,
            "config": config,
            "data": {**data, "shape": [int(side) for side in data.get("shape") or ()]},
        },
        "hardware": hardware,
        "versions": _dict_or_none(content, "versions") or {},
    }


def _what_ranks(
    content: dict[str, Any], scores: dict[str, float]
) -> tuple[dict[str, str], list[str]]:
    """Directions, and the names of scores that rank."""
    if content["schema"] < 2:
        directions = first_schema.directions(scores)
        return directions, first_schema.ranking(directions)
    directions = {
        name: direction
        for name, direction in content["directions"].items()
        if name in scores and direction in (SMALLER, LARGER)
    }
    return directions, [name for name in content["ranking"] if name in directions]


def _dict(content: dict[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(content[key], dict):
        raise ValueError(f"'{key}'")
    return content[key]


def _dict_or_none(content: dict[str, Any], key: str) -> dict[str, Any] | None:
    return None if content.get(key) is None else _dict(content, key)


def _number(content: dict[str, Any], key: str) -> float | None:
    return None if content.get(key) is None else _finite(content[key])


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"a number ({str(value)[:40]!r})")
    return value
