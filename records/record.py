"""Records: one JSON object a line, one line a score, and all that is needed to read it later.

A record holds

    schema      version of this layout
    scores      {name: value}, the mean where several evaluation seeds were used
    directions  {name: "smaller" or "larger"}: which way each of them is better; a value without a
                direction, such as the spread between parts of an evaluation, is no score
    ranking     names of those that runs are ranked by, each in a table of its own
    baselines   {name: scores} of trivial ways to do the same, where some were asked for
    by_evaluation_seed  {name: values in the order of the protocol's seeds}, with several seeds
    protocol    what the values mean, see `evaluation.protocol.Protocol`
    fingerprint of the protocol; only records with the same one are compared
    iteration   finished iterations; null, as the next two, for images from elsewhere
    kimg        thousands of real images shown
    seconds     wall-clock of the run, over all its interruptions
    run         what was trained, as the caller says: method, data, settings; under condition the
                kind of what is asked of a generation; under changes the settings that were changed
                in its course, each time with the iteration
    parameters  {network: how many parameters it has}, where that is known
    hardware    {device, devices, cpu, cores} that it was trained on; null if not known
    versions    of Python and the libraries that scored it
    commit      of this repository in training, "-dirty" if it had changes; null if not known
    time        when it was written, UTC

Schema 1 has neither directions nor ranking; `records.reading` adds them.
"""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saddlepoint.atomic import UnwritableError, append, whole_file
from saddlepoint.records.origin import versions

if TYPE_CHECKING:
    from saddlepoint.evaluation.evaluator import Scores

SCHEMA = 2
FILE_NAME = "records.jsonl"
SMALLER, LARGER = "smaller", "larger"


def make_record(
    scores: "Scores",
    *,
    iteration: int | None,
    kimg: float | None,
    seconds: float | None,
    run: dict[str, Any],
    made_by: dict[str, Any],
    parameters: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Put a record together; see the top of this file.

    Args:
        scores: values and what they mean.
        iteration: finished iterations.
        kimg: thousands of real images shown.
        seconds: wall-clock of the run.
        run: what was trained.
        made_by: `records.origin.origin` of the generator, not of its scores where those come later.
        parameters: {network: how many it has}, where that is known.
    """
    return {
        "schema": SCHEMA,
        "scores": scores.means,
        "directions": scores.directions,
        "ranking": list(scores.ranking),
        **({"baselines": scores.baselines} if scores.baselines else {}),
        **({"by_evaluation_seed": scores.by_seed} if scores.by_seed else {}),
        "protocol": scores.protocol.as_dict(),
        "fingerprint": scores.protocol.fingerprint,
        "iteration": iteration,
        "kimg": kimg,
        "seconds": None if seconds is None else round(seconds, 3),
        "run": run,
        **({"parameters": parameters} if parameters else {}),
        "versions": versions(),
        **made_by,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def cost(record: Mapping[str, Any]) -> float:
    """The first score of a record as a number of which less is better; infinite without a score."""
    directions = record["directions"]
    for name, value in record["scores"].items():
        if name in directions:
            return -value if directions[name] == LARGER else value
    return float("inf")


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Append a record; once this returns it survives a crash.

    A line that an earlier crash has torn is ended first.

    Raises:
        ValueError: a value is NaN or infinite.
        UnwritableError: the file cannot be written; nothing of the record is in it then.
    """
    line = json.dumps(record, allow_nan=False).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with path.open("rb") as file:
                if file.seek(0, os.SEEK_END):
                    file.seek(-1, os.SEEK_END)
                    line = line if file.read(1) == b"\n" else b"\n" + line
    except OSError as error:
        raise UnwritableError(path, error) from error
    append(path, line)


def drop_records_after(path: Path, iteration: int) -> None:
    """Drop the records of iterations that a run is about to repeat, and lines that are torn.

    Args:
        path: of the records; there may be none.
        iteration: the last whose records stay.

    Raises:
        UnwritableError: the file cannot be written; it is as it was.
    """
    if not path.is_file():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if _iteration(line) <= iteration]
    if kept != lines:
        with whole_file(path) as file:
            file.writelines(kept)


def _iteration(line: bytes) -> float:
    try:
        return json.loads(line)["iteration"] or 0
    except (ValueError, TypeError, KeyError):
        return float("inf")
