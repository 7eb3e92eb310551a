"""One point of a sweep: found again, gone on with or begun; a bad one is one bad point.

Whatever is wrong with a point leaves its process as one small exception, which every launcher
carries; only a signal ends the sweep.
"""

import contextlib
import gc
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only

from saddlepoint.errors import UserError
from saddlepoint.gans.loss_log import DivergedError
from saddlepoint.records import ending
from saddlepoint.records.ending import Ending
from saddlepoint.runs import lock
from saddlepoint.runs.command_line import causes, out_of_memory, user_sentence
from saddlepoint.runs.resume import changes_of, listed
from saddlepoint.runs.sweeps import ranks, signals
from saddlepoint.runs.sweeps.folder import OtherPointError, Sweep
from saddlepoint.runs.sweeps.names import point_name

log = logging.getLogger(__name__)

LOOK_EVERY = 0.5  # seconds, at a folder that another process writes to


class FailedPointError(UserError):
    """A point has failed: says which and why. It holds nothing else, so that memory is free."""


def play_point(config: DictConfig, train: Callable[[Path], float | None]) -> float | None:
    """Play a point of the sweep that Hydra runs; return its score, the stored one if it is done.

    Args:
        config: composed settings.
        train: trains in the folder that it is given, resuming what it finds there; returns a score.

    Raises:
        FailedPointError: the point failed; its folder says so too.
        OtherPointError: something else lies in its folder.
        SystemExit: a signal stopped it, and with it the sweep.
    """
    job = HydraConfig.get()
    sweep = Sweep(Path(job.sweep.dir))
    name = point_name(job.overrides.task, job.job.config.override_dirname.exclude_keys)
    if ranks.came_later(name):
        return None
    failure = None
    with signals.end_the_process(), _alone_in(sweep.reserve(name), sweep) as folder:
        before = ending.read(folder)
        start = time.monotonic() - ((before and before.seconds) or 0)
        try:
            changed = changes_of(folder, config)
            if changed and not config.allow_changes:
                raise OtherPointError(
                    f"{folder} was begun with other settings: {listed(changed)}; put them back, or"
                    " give this sweep another sweep_name=."
                )
            if before and before.state == ending.FINISHED and not changed:
                _say(f"{name}: finished before, score {before.score}")
                return before.score
            _forget(folder)
            score = train(folder)
        except OtherPointError:
            raise
        except Exception as error:
            failure = _cause(error, config)
            _note(folder, Ending(ending.FAILED, failure, seconds=time.monotonic() - start))
        except BaseException as stop:
            signals.remember(stop)
            if not ending.read(folder):
                sentence = f"stopped by {signals.name_of(stop)}"
                _note(folder, Ending(ending.STOPPED, sentence, seconds=time.monotonic() - start))
            raise
    if failure is None:
        return score
    _say(f"{name}: {failure}")
    ranks.part()
    gc.collect()  # what the exception held is in cycles
    raise FailedPointError(f"{name}: {failure}")


@contextlib.contextmanager
def _alone_in(folder: Path, sweep: Sweep) -> Iterator[Path]:
    """Hold a point's folder, and keep the sweep's list; wait for a process that plays the point."""
    if rank_zero_only.rank != 0:  # only the first process of several writes
        yield folder
        return
    held = _held(folder)
    try:
        sweep.write_list()
        yield folder
    finally:
        held.close()
        sweep.write_list()
        signals.leave_with_parent()


def _held(folder: Path) -> IO[str]:
    waits = 0
    while True:
        try:
            return lock.hold(folder)
        except lock.HeldError as error:
            waits += 1
            if waits == 2:  # who looks whether a folder is held holds it for a moment
                print(f"{folder.name} is going on in {error.holder}: waiting for it", flush=True)
            time.sleep(LOOK_EVERY)


@rank_zero_only
def _say(line: str) -> None:
    print(line, flush=True)


@rank_zero_only
def _forget(folder: Path) -> None:
    ending.forget(folder)


@rank_zero_only
def _note(folder: Path, how: Ending) -> None:
    try:
        ending.write(folder, how)
    except UserError as error:  # the disk is full, perhaps; the exception tells the cause
        log.warning("%s", error)


def _cause(error: Exception, config: DictConfig) -> str:
    """Why a point failed, in a word and a sentence; shows where, if it is no user's mistake."""
    sentence = user_sentence(error)
    if sentence is None or config.debug:
        traceback.print_exc(file=sys.stderr)
    if sentence is None:
        return f"error: {type(error).__name__}: {' '.join(str(error).split())}"
    kinds = {
        "diverged": DivergedError,
        "out of memory": out_of_memory(),
        "refused": Exception,
    }
    links = causes(error)
    kind = next(k for k, types in kinds.items() if any(isinstance(x, types) for x in links))
    return f"{kind}: {sentence}"
