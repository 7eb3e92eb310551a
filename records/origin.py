"""Where a number comes from: hardware, commit and versions, as records have them."""

import functools
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

UNKNOWN_ORIGIN = {"hardware": None, "commit": None}
LIBRARIES = ("saddlepoint", "torch", "torchvision", "pytorch-lightning", "torch-fidelity")


def origin(device: str, devices: int = 1) -> dict[str, Any]:
    """What trains here: ``hardware`` and ``commit``.

    Args:
        device: name of the accelerator, such as ``NVIDIA H100``, or ``cpu``.
        devices: how many there are.
    """
    return {"hardware": hardware(device, devices), "commit": commit()}


def hardware(device: str, devices: int = 1) -> dict[str, Any]:
    """What a run is computed on; see `origin`."""
    return {"device": device, "devices": devices, "cpu": _cpu(), "cores": os.cpu_count()}


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
