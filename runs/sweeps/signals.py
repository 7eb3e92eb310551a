"""Signals in a sweep: the points in other processes keep what they have before the sweep ends.

A launcher such as joblib plays points in worker processes, one after another. A worker that was
told to stop takes no further point, and one whose parent is gone stops.
"""

import contextlib
import multiprocessing
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from saddlepoint.errors import INTERRUPTED
from saddlepoint.runs import lock
from saddlepoint.runs.sweeps.folder import RUNNING, Sweep

LOOK_EVERY = 0.2  # seconds
#: Of a worker: the exit codes it was asked to end with, and who looks whether its parent is there.
_asked: list[int] = []
_watching: list[threading.Thread] = []


@contextlib.contextmanager
def reach_the_points(sweep: Sweep) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end a sweep when the points in its child processes have stopped.

    A second signal does not wait for them.
    """
    asked: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        told: set[int] = set()
        while len(asked) == 1 and (playing := _children_that_play(sweep)):
            for child in playing - told:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGTERM)
            told |= playing
            time.sleep(LOOK_EVERY)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    with _handled((signal.SIGTERM, signal.SIGINT), stop):
        yield


def wait_for_the_dying(sweep: Sweep, seconds: float = 10.0) -> None:
    """Give child processes that a launcher has killed a moment to be gone."""
    end = time.monotonic() + seconds
    while _children_that_play(sweep) and time.monotonic() < end:
        time.sleep(LOOK_EVERY)


@contextlib.contextmanager
def end_the_process() -> Iterator[None]:
    """Let SIGTERM, and the end of a worker's parent, end in order what is done here.

    Raises:
        SystemExit: this worker was told to stop before.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        if _asked:
            sys.exit(_asked[0])
        if not _watching:
            _watching.append(threading.Thread(target=_watch, args=(parent.pid,), daemon=True))
            _watching[0].start()

    def stop(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    own = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with _handled((signal.SIGTERM,) if own else (), stop):
        yield


def remember(stop: BaseException) -> None:
    """Take no further point in this worker."""
    if multiprocessing.parent_process() is not None:
        _asked.append(_code(stop))


def leave_with_parent() -> None:
    """End a worker whose parent is gone: nobody wants its results."""
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        os._exit(128 + signal.SIGTERM)


def name_of(stop: BaseException) -> str:
    """The signal that ended a point, as far as its exit code tells."""
    if _code(stop) == INTERRUPTED:
        return "Ctrl-C"
    with contextlib.suppress(ValueError):
        return signal.Signals(_code(stop) - 128).name
    return f"exit code {_code(stop)}"


def _code(stop: BaseException) -> int:
    code = getattr(stop, "code", INTERRUPTED)
    return code if isinstance(code, int) else 1


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _children_that_play(sweep: Sweep) -> set[int]:
    """Numbers of this process's children that hold a point of the sweep."""
    children = {child.pid for child in multiprocessing.active_children()}
    running = [point for point in sweep.points() if point.state == RUNNING] if children else []
    holders = filter(None, (lock.holder(point.folder) for point in running))
    return {number for number, machine in holders if machine == platform.node()} & children


@contextlib.contextmanager
def _handled(
    numbers: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            if old is not None:  # one that Python has not set
                signal.signal(number, old)
