"""Going on where a run stopped, with its own settings and no others by accident."""

import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from saddlepoint.errors import UserError
from saddlepoint.records.record import drop_records_after
from saddlepoint.records.settings import HARMLESS, flat, is_under
from saddlepoint.runs import lock
from saddlepoint.runs.checkpoint_file import LAST
from saddlepoint.runs.trained_run import TrainedRun
from saddlepoint.runs.trust import is_allowed, targets

log = logging.getLogger(__name__)

#: Tells the other processes of a run which one the first process resumes.
CHOSEN = "SADDLEPOINT_RESUMES"


class Resumption(NamedTuple):
    """What a run goes on with.

    Attributes:
        config: composed settings.
        overrides: the command line that composes them.
        run: as it was left; None for a fresh one.
        changed: settings that alter training and now differ, see `changes`.
    """

    config: DictConfig
    overrides: list[str]
    run: TrainedRun | None = None
    changed: dict[str, tuple[Any, Any]] = {}

    @property
    def history(self) -> list[dict[str, Any]]:
        """All changes of settings in the course of the run, as its records have them."""
        if self.run is None:
            return []
        # The gan follows some settings (gan.iterations is iterations): they are named once.
        follows = {f"gan.{key}" for key in self.changed}
        new = {key: list(pair) for key, pair in self.changed.items() if key not in follows}
        now = [{"iteration": self.run.iteration, "settings": new}] if new else []
        return [*self.run.content.get("changes", []), *now]


def resume(config: DictConfig, overrides: list[str]) -> Resumption:
    """Find the run that ``config.ckpt`` asks for, and the settings to go on with.

    The run's own command line is taken up again; ``overrides``, those of this command line, come on
    top. ``ckpt=last`` is the newest run that is not going on.

    Raises:
        UserError: no such checkpoint, the run is finished, or a setting that alters training
            changed without ``allow_changes=true``.
    """
    if config.ckpt is None:
        return Resumption(config, overrides)
    run, older = _wanted(config)
    config, merged = run.composed(overrides)
    changed = _allowed_changes(run, config)
    # Where all iterations are done and scores are missing, those are made up.
    if run.iteration > config.iterations or (
        run.iteration == config.iterations and run.is_finished
    ):
        unfinished = [other.folder for other in older if not other.is_finished]
        other = f"; or go on with python train.py ckpt={unfinished[0]}" if unfinished else ""
        raise UserError(
            f"The run {run.checkpoint} has finished its {config.iterations} iterations: to train"
            f" on, add iterations={2 * config.iterations} allow_changes=true{other}."
        )
    os.environ[CHOSEN] = str(run.checkpoint)
    return Resumption(config, merged, run, changed)


def take_up(folder: Path, config: DictConfig, overrides: list[str]) -> Resumption:
    """Go on with the run that lies in a folder, by the settings it was begun with; or begin it.

    These settings are all there are: other than with `resume`, nothing that the run's file names is
    made, so that it may name what they name.

    Raises:
        UserError: a setting that alters training changed without ``allow_changes=true``.
    """
    named = targets(OmegaConf.to_container(config, resolve=True))
    run = TrainedRun(folder / LAST, [str(t).split(".")[0] for t in named if not is_allowed(t, ())])
    if not run.checkpoint.exists():
        rank_zero_only(drop_records_after)(run.records, iteration=0)
        return Resumption(config, overrides)
    changed = _allowed_changes(run, config)
    if run.iteration > config.iterations:
        raise UserError(
            f"The run {run.folder} has {run.iteration} iterations already: raise iterations=."
        )
    rank_zero_only(drop_records_after)(run.records, run.iteration)
    return Resumption(config, overrides, run, changed)


def changes_of(folder: Path, config: DictConfig) -> dict[str, tuple[Any, Any]]:
    """Settings that alter training and differ from those of a folder's run, see `changes`."""
    if not (folder / "config.yaml").exists():
        return {}
    begun = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    return changes(begun, OmegaConf.to_container(config, resolve=True))


def listed(changed: dict[str, tuple[Any, Any]]) -> str:
    """Changes in words."""
    return ", ".join(f"{key} ({old} -> {new})" for key, (old, new) in changed.items())


def _allowed_changes(run: TrainedRun, config: DictConfig) -> dict[str, tuple[Any, Any]]:
    """Settings that alter training and differ.

    Raises:
        UserError: there are such, without ``allow_changes=true``.
    """
    changed = changes(run.content["config"], OmegaConf.to_container(config, resolve=True))
    if changed and not config.allow_changes:
        raise UserError(
            f"Resuming {run.checkpoint} would alter its training, as settings differ:"
            f" {listed(changed)}; put them back, or add allow_changes=true."
        )
    return changed


def _wanted(config: DictConfig) -> tuple[TrainedRun, list[TrainedRun]]:
    """The run that is meant; with ``ckpt=last`` also the older ones, the newest first."""
    if config.ckpt != "last":
        return TrainedRun.find(config.ckpt, config.output_dir, config.trust), []
    if rank_zero_only.rank != 0 and CHOSEN in os.environ:
        return TrainedRun.find(os.environ[CHOSEN], config.output_dir, config.trust), []
    runs = TrainedRun.newest_first(config.output_dir, config.trust)
    if not runs:
        raise UserError(f"There is no run to resume under {config.output_dir}: leave out ckpt.")
    going_on = [run for run in runs if lock.is_held(run.folder)]
    newest, *older = [run for run in runs if run not in going_on] or [None]
    if newest is None:
        raise UserError(
            f"All runs under {config.output_dir} are going on: there is none to resume."
        )
    newer = [str(run.folder) for run in going_on[: runs.index(newest)]]
    if newer:
        log.warning("passed over, as going on: %s", ", ".join(newer))
    return newest, older


def changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that alter training and differ: ``{key: (old, new)}``; missing ones are None."""
    old, new = flat(old), flat(new)
    return {
        key: (old.get(key), new.get(key))
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key) and not is_under(key, HARMLESS)
    }
