"""The trainer of a run, with what the run needs and all that the user adds."""

from functools import partial
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from saddlepoint.errors import UserError
from saddlepoint.runs.csv_file import CSVFile
from saddlepoint.runs.current_run import CurrentRun
from saddlepoint.runs.loggers import Wandb, group_of
from saddlepoint.runs.processes import environment_plugins, refuse_misfits
from saddlepoint.runs.settings import without_the_usual

#: What a run sets itself; and the setting that does what a user may have wanted of it.
OWN = {
    "max_epochs": (1, "iterations="),  # an epoch of the trainer is the whole run
    "enable_checkpointing": (False, "checkpoint_every= or ~callbacks.last_checkpoint"),
    "enable_progress_bar": (False, "~callbacks.status_line"),
    "enable_model_summary": (False, "+callbacks.summary._target_=..."),
    "limit_val_batches": (0, "score_every="),
    "use_distributed_sampler": (False, ""),
    "default_root_dir": (None, "output_dir="),
}


def build_callbacks(run: CurrentRun) -> list[pl.Callback]:
    """Those of ``callbacks`` in their order, then those of ``trainer.callbacks``.

    Raises:
        UserError: one is no callback.
    """
    own = [
        callback(run) if isinstance(callback, partial) else callback
        for callback in _made(run.config.callbacks, "callbacks").values()
    ]
    added = _typed(run.config.trainer, "callbacks")
    for callback in [*own, *added]:
        if not isinstance(callback, pl.Callback):
            raise UserError(
                f"{callback!r} is no callback: let its _target_ be a subclass of"
                " pytorch_lightning.Callback."
            )
    return [*own, *added]


def build_loggers(run: CurrentRun, iteration: int) -> list[Logger]:
    """The CSV file, those of ``logger``, then those of ``trainer.logger``.

    Args:
        run: that they log.
        iteration: where it starts.

    Raises:
        UserError: one is no logger.
    """
    place = {"save_dir": str(run.folder), "name": run.folder.name}
    own = [
        logger(**place) if isinstance(logger, partial) else logger
        for logger in _made(run.config.logger, "logger").values()
    ]
    added = _typed(run.config.trainer, "logger")
    for logger in [*own, *added]:
        if isinstance(logger, Wandb):
            logger.belongs_to(group_of(run.settings, run.title))
        if not isinstance(logger, Logger):
            raise UserError(
                f"{logger!r} is no logger: leave it out, or let its _target_ be one; metrics.csv"
                " is always written."
            )
    return [CSVFile(run.folder / "metrics.csv", iteration), *own, *added]


def build_trainer(
    run: CurrentRun, callbacks: list[pl.Callback], loggers: list[Logger]
) -> pl.Trainer:
    """The trainer of ``trainer=``.

    Raises:
        UserError: a setting of the trainer is the run's own, or its processes cannot meet.
    """
    settings = OmegaConf.to_container(run.config.trainer, resolve=True)
    for key in OWN.keys() & settings.keys():
        instead = OWN[key][1] and f", and use {OWN[key][1]}"
        raise UserError(f"trainer.{key} is set by the run itself: leave it out{instead}.")
    settings = without_the_usual(settings)
    settings = {k: v for k, v in settings.items() if k not in ("callbacks", "logger")}
    settings |= {key: value for key, (value, _) in OWN.items()}
    settings["default_root_dir"] = str(run.folder)
    # Called here rather than by Hydra, which would look for settings in the objects.
    make_trainer = instantiate(settings, _partial_=True, _convert_="all")
    made = {"callbacks": callbacks, "logger": loggers}
    if "plugins" not in settings:
        made["plugins"] = environment_plugins()
    trainer = make_trainer(**made)
    refuse_misfits(trainer)
    return trainer


def _made(settings: DictConfig, group: str) -> dict[str, Any]:
    """Objects of a group by name; one that is null is left out."""
    for name, part in settings.items():
        if part is not None and not (OmegaConf.is_dict(part) and "_target_" in part):
            raise UserError(f"{group}.{name} makes nothing: give {group}.{name}._target_.")
    return {n: instantiate(p, _convert_="all") for n, p in settings.items() if p is not None}


def _typed(trainer: DictConfig, key: str) -> list[Any]:
    """What a user has given to the trainer under a key: one, several or none."""
    given = trainer.get(key)
    if given is None:
        return []
    several = given if OmegaConf.is_list(given) else [given]
    return [instantiate(g, _convert_="all") if OmegaConf.is_config(g) else g for g in several]
