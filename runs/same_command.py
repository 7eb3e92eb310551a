"""The same command again, as a scheduler gives it: ``ckpt=auto`` begins a run or continues it."""

from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only

from saddlepoint.errors import UserError
from saddlepoint.records import ending
from saddlepoint.runs import lock

#: The value of ``ckpt=``.
AUTO = "auto"


def play_or_go_on(config: DictConfig, train: Callable[[Path], float | None]) -> float | None:
    """Play the run of ``run_name=`` to its end, whatever lies in its folder; return its score.

    Args:
        config: composed settings.
        train: trains in the folder that it is given, resuming what it finds there; returns a score.

    Raises:
        UserError: the run has no name, or another process plays it.
        SystemExit: a signal stopped it before its end.
    """
    if config.run_name in (None, ""):
        raise UserError("ckpt=auto finds a run by its name: give it run_name=.")
    folder = Path(config.output_dir) / str(config.run_name)
    done = ending.read(folder)
    if done is not None and done.state == ending.FINISHED:
        rank_zero_only(print)(f"{folder}: finished before, score {done.score}", flush=True)
        return done.score
    if rank_zero_only.rank != 0:  # only the first process of several writes
        return train(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror}): choose another output_dir."
        ) from error
    with lock.hold(folder):
        ending.forget(folder)
        try:
            return train(folder)
        except SystemExit:
            done = ending.read(folder)
            if done is None or done.state != ending.FINISHED:
                raise
            return done.score  # the signal came too late
