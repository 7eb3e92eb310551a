"""Going on where a run stopped, with its own settings and no others by accident."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from saddlepoint.errors import UserError
from saddlepoint.records.settings import HARMLESS, flat, is_under
from saddlepoint.runs import lock
from saddlepoint.runs.trained_run import TrainedRun

#: Tells the other processes of a run which one the first process resumes.
CHOSEN = "SADDLEPOINT_RESUMES"


class Resumption(NamedTuple):
    """What a run goes on with.

    Attributes:
        config: composed settings.
        overrides: the command line that composes them.
        run: as it was left; None for a fresh one.
    """

    config: DictConfig
    overrides: list[str]
    run: TrainedRun | None = None


def resume(config: DictConfig, overrides: list[str]) -> Resumption:
    """Find the run that ``config.ckpt`` asks for, and the settings to go on with.

    The run's own command line is taken up again; ``overrides``, those of this command line, come on
    top. ``ckpt=last`` is the newest run that they do not contradict.

    Raises:
        UserError: no such checkpoint, the run is finished, or a setting that alters training
            changed without ``allow_changes=true``.
    """
    if config.ckpt is None:
        return Resumption(config, overrides)
    refusals = []
    for run in _candidates(config, config.trust):
        config, merged = run.composed(overrides)
        changed = changes(run.content["config"], OmegaConf.to_container(config, resolve=True))
        if changed and not config.allow_changes:
            listed = ", ".join(f"{key} ({old} -> {new})" for key, (old, new) in changed.items())
            refusals.append(
                f"Resuming {run.checkpoint} would alter its training, as settings differ: {listed};"
                " put them back, or add allow_changes=true."
            )
        elif run.iteration >= config.iterations:
            refusals.append(
                f"The run {run.checkpoint} has finished its {config.iterations} iterations: to"
                f" train on, add iterations={2 * config.iterations} allow_changes=true."
            )
        else:
            os.environ[CHOSEN] = str(run.checkpoint)
            return Resumption(config, merged, run)
    raise UserError(refusals[0])


def _candidates(config: DictConfig, trusted: Sequence[str]) -> list[TrainedRun]:
    if config.ckpt != "last":
        return [TrainedRun.find(config.ckpt, config.output_dir, trusted)]
    if rank_zero_only.rank != 0 and CHOSEN in os.environ:
        return [TrainedRun.find(os.environ[CHOSEN], config.output_dir, trusted)]
    newest_first = TrainedRun.newest_first(config.output_dir, trusted)
    if not newest_first:
        raise UserError(f"There is no run to resume under {config.output_dir}: leave out ckpt.")
    resting = [run for run in newest_first if not lock.is_held(run.folder)]
    if not resting:
        raise UserError(
            f"All runs under {config.output_dir} are going on: there is none to resume."
        )
    return resting


def changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that alter training and differ: ``{key: (old, new)}``; missing ones are None."""
    old, new = flat(old), flat(new)
    return {
        key: (old.get(key), new.get(key))
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key) and not is_under(key, HARMLESS)
    }
