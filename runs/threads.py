"""Runs side by side on one machine share its cores: threads that wait for each other wait long.

Every run that goes on holds a lock on a file of its own in a folder of its user; who counts the
locks counts the runs. A lock ends with its process, SIGKILL included. A run keeps its number of
threads to its end, and when it is resumed: sums over other parts of a tensor round differently.
"""

import contextlib
import fcntl
import logging
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import torch

from saddlepoint.atomic import one_process_at_a_time

log = logging.getLogger(__name__)

#: Where a user says how many threads there shall be.
VARIABLE = "OMP_NUM_THREADS"
#: Where SLURM says how many cores a process has for itself.
ALLOTTED = "SLURM_CPUS_PER_TASK"


@contextlib.contextmanager
def share_of_the_cores(before: int | None = None, processes: int = 1) -> Iterator[None]:
    """Let torch have as many threads as leave the other runs of this user theirs.

    A number in the environment variable ``OMP_NUM_THREADS`` holds as it is. Of the cores that SLURM
    has allotted to this process it takes all.

    Args:
        before: threads of each process in which the run was begun; None for a fresh run.
        processes: of this run on this machine; they inherit the number.
    """
    default, given = torch.get_num_threads(), os.environ.get(VARIABLE)
    with _counted() as others:
        if given is None:
            cores = min(default, cores_allowed())
            if allotted := os.environ.get(ALLOTTED):
                most, others = min(cores, int(allotted)), 0
            else:
                most = max(1, cores // processes)
            threads = before if before and before <= most else max(1, most // (1 + others))
            torch.set_num_threads(threads)
            if processes > 1:
                os.environ[VARIABLE] = str(threads)
            if others:
                log.warning(
                    "%d other of your runs %s going on here: this one takes %d of %d cores, those"
                    " keep theirs; if that is slow, start all of them with OMP_NUM_THREADS=%d",
                    *(others, "is" if others == 1 else "are", threads * processes, cores),
                    max(1, most // (1 + others)),
                )
        if before and torch.get_num_threads() != before:
            log.warning(
                "this run was begun with %d threads and goes on with %d: numbers may differ in"
                " their last digits from those without the interruption; OMP_NUM_THREADS=%d keeps"
                " them",
                *(before, torch.get_num_threads(), before),
            )
        try:
            yield
        finally:
            torch.set_num_threads(default)
            if given is None:
                os.environ.pop(VARIABLE, None)


def cores_allowed() -> int:
    """Cores that this process may use: those of its mask, and no more than its group's share."""
    mask = getattr(os, "sched_getaffinity", None)
    return max(1, min([len(mask(0)) if mask else os.cpu_count() or 1, *quotas()]))


def quotas(
    root: Path = Path("/sys/fs/cgroup"), process: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """Whole cores that each control group of this process leaves it (Linux, version 2)."""
    with contextlib.suppress(OSError):
        for line in process.read_text().splitlines():
            if line.startswith("0::/"):
                own = root / line[4:]
                for group in (own, *own.parents):
                    with contextlib.suppress(OSError, ValueError):  # "max" is no number
                        quota, period = map(int, (group / "cpu.max").read_text().split())
                        yield quota // period


def folder() -> Path:
    """Where the runs of this user that go on have their files."""
    place = os.environ.get("XDG_RUNTIME_DIR")
    return Path(place or tempfile.gettempdir()) / f"saddlepoint-{os.getuid()}"


@contextlib.contextmanager
def _counted() -> Iterator[int]:
    """Be counted by others; yields how many others there are. Where that fails there are none."""
    own: IO[str] | None = None
    others = 0
    with contextlib.suppress(OSError):
        folder().mkdir(mode=0o700, exist_ok=True)
        if folder().stat().st_uid == os.getuid():
            with one_process_at_a_time(folder() / "lock"):
                others = sum(map(_is_alive, folder().glob("*.run")))
                own = (folder() / f"{uuid.uuid4().hex}.run").open("w")
                fcntl.lockf(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield others
    finally:
        if own is not None:
            with contextlib.suppress(OSError):
                Path(own.name).unlink()
            own.close()


def _is_alive(path: Path) -> bool:
    """Whether a run holds its file; one that was killed leaves it, and it goes."""
    with contextlib.suppress(OSError), path.open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
        path.unlink()
    return False
