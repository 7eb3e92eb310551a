"""Records: one JSON object a line, one line a score, and all that is needed to read it later.

A record holds

    schema      version of this layout
    scores      {name: value}, the mean where several evaluation seeds were used
    by_evaluation_seed  {name: values in the order of the protocol's seeds}, with several seeds
    protocol    what the values mean, see `evaluation.protocol.Protocol`
    fingerprint of the protocol; only records with the same one are compared
    iteration   finished iterations; null, as the next two, for images from elsewhere
    kimg        thousands of real images shown
    seconds     wall-clock of the run, over all its interruptions
    run         what was trained, as the caller says: method, data, settings
    hardware    {device, devices, cpu, cores} that it was trained on; null if not known
    versions    of Python and the libraries that scored it
    commit      of this repository in training, "-dirty" if it had changes; null if not known
    time        when it was written, UTC
"""

import functools
import json
import logging
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from saddlepoint.evaluation.evaluator import Scores

log = logging.getLogger(__name__)

SCHEMA = 1
FILE_NAME = "records.jsonl"
UNKNOWN_ORIGIN = {"hardware": None, "commit": None}
LIBRARIES = ("saddlepoint", "torch", "torchvision", "pytorch-lightning", "torch-fidelity")


def make_record(
    scores: Scores,
    *,
    iteration: int | None,
    kimg: float | None,
    seconds: float | None,
    run: dict[str, Any],
    made_by: dict[str, Any],
) -> dict[str, Any]:
    """Put a record together; see the top of this file.

    Args:
        scores: values and what they mean.
        iteration: finished iterations.
        kimg: thousands of real images shown.
        seconds: wall-clock of the run.
        run: what was trained.
        made_by: `origin` of the generator, not of its scores where those come later.
    """
    return {
        "schema": SCHEMA,
        "scores": scores.means,
        **({"by_evaluation_seed": scores.by_seed} if scores.by_seed else {}),
        "protocol": scores.protocol.as_dict(),
        "fingerprint": scores.protocol.fingerprint,
        "iteration": iteration,
        "kimg": kimg,
        "seconds": None if seconds is None else round(seconds, 3),
        "run": run,
        "versions": versions(),
        **made_by,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Append a record; once this returns it survives a crash.

    A line that an earlier crash has torn is ended first.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    line = json.dumps(record, allow_nan=False).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_records(path: Path) -> list[dict[str, Any]]:
    """Records of a run in the order they were written; none if there is no file.

    Torn lines, and records of a later version, are left out with a warning.
    """
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            schema = record["schema"]
        except (ValueError, TypeError, KeyError):
            log.warning("Line %d of %s is torn and left out", number, path)
            continue
        if schema > SCHEMA:
            log.warning("Line %d of %s is of a later version and left out", number, path)
            continue
        records.append(record)
    return records


def origin(device: torch.device, devices: int = 1) -> dict[str, Any]:
    """What trains here: ``hardware`` and ``commit``."""
    return {"hardware": hardware(device, devices), "commit": commit()}


def hardware(device: torch.device, devices: int = 1) -> dict[str, Any]:
    """What a run is computed on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "devices": devices, "cpu": _cpu(), "cores": os.cpu_count()}


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def commit() -> str | None:
    """Commit of the repository that this file is in, with "-dirty" if there are changes."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():  # installed elsewhere; another repository is not ours
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        answer = subprocess.run(
            [*command, "--exclude=*"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


@functools.cache
def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
