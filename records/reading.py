"""Records as others find them: nothing in a file is trusted, and old layouts come as new ones."""

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from saddlepoint.records import first_schema
from saddlepoint.records.changes import said_of_changes
from saddlepoint.records.record import LARGER, SCHEMA, SMALLER

#: Bytes of one record.
LONGEST_LINE = 2**24

log = logging.getLogger(__name__)


def read_records(path: Path, problems: list[str] | None = None) -> list[dict[str, Any]]:
    """Records of a file, in the order they were written and in the newest layout.

    Runs may be going on: a line that is torn is left out, as is one of a later version or one that
    lacks or garbles what a record holds.

    Args:
        path: the file; without it there are no records.
        problems: gets a sentence on all that is left out; without a list the log has them.
    """
    if not path.exists():
        return []
    problem = log.warning if problems is None else problems.append
    if not path.is_file():  # reading a pipe would never end
        problem(f"{path} is no file and is left out.")
        return []
    records = []
    try:
        with path.open("rb") as file:
            _collect(file, path, records, problem)
    except OSError as error:
        problem(f"{path} cannot be read ({error.strerror}) and is left out.")
    return records


def _collect(
    file: IO[bytes], path: Path, records: list[dict[str, Any]], problem: Callable[[str], Any]
) -> None:
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        is_last = not line.endswith(b"\n")
        if len(line) == LONGEST_LINE and is_last:
            problem(f"Line {number} of {path} is longer than any record: what follows is left out.")
            return
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            newer = content["schema"] > SCHEMA
        except (ValueError, TypeError, KeyError, RecursionError):
            last = " (the last, perhaps just being written)" if is_last else ""
            problem(f"Line {number} of {path}{last} is torn and left out.")
            continue
        if newer:
            problem(f"Line {number} of {path} is of a later version and left out.")
            continue
        try:
            records.append(_checked(content))
        except (
            *(TypeError, KeyError, ValueError, AttributeError, OverflowError, RecursionError),
        ) as error:
            problem(f"Line {number} of {path} is left out: it lacks or garbles {error}.")


def _checked(record: dict[str, Any]) -> dict[str, Any]:
    """A record of the newest layout whose parts are what they should be.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: they are not; names what.
    """
    scores = record["scores"]
    for number in scores.values():
        _finite(number)
    for numbers in (_dict_or_none(record, "by_evaluation_seed") or {}).values():
        list(map(_finite, numbers))
    for key in ("kimg", "seconds"):
        if record.get(key) is not None:
            _finite(record[key])
    if not isinstance(record.get("iteration"), int | None):
        raise ValueError("'iteration'")
    str.join("", (record["fingerprint"], _dict(record, "protocol")["dataset"]))
    run = _dict(record, "run")
    _dict_or_none(_dict_or_none(run, "config") or {}, "terms")
    said_of_changes(run.get("changes") or ())
    list(map(int, (_dict_or_none(run, "data") or {}).get("shape") or ()))
    _finite((_dict_or_none(record, "hardware") or {}).get("devices", 1))
    _dict_or_none(record, "versions")
    _dict_or_none(record, "parameters")
    for beside in (_dict_or_none(record, "baselines") or {}).values():
        list(map(_finite, beside.values()))
    if record["schema"] < 2:
        directions = first_schema.directions(scores)
        ranking = first_schema.ranking(directions)
        return {**record, "schema": SCHEMA, "directions": directions, "ranking": ranking}
    if not set(_dict(record, "directions").values()) <= {SMALLER, LARGER}:
        raise ValueError("'directions'")
    if not set(record["ranking"]) <= set(record["directions"]) <= set(scores):
        raise ValueError("'ranking'")
    return record


def _dict(content: dict[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(content[key], dict):
        raise ValueError(f"'{key}'")
    return content[key]


def _dict_or_none(content: dict[str, Any], key: str) -> dict[str, Any] | None:
    return None if content.get(key) is None else _dict(content, key)


def _finite(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"a number ({str(value)[:40]!r})")
