"""Train a GAN: compose, make what the method needs, build, fit, score, record.

Returns the last score, under the full protocol where there is one, so that any Hydra sweeper can
drive it.
"""

import logging
import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console

from saddlepoint.datamodules.base import DataModule
from saddlepoint.errors import UserError
from saddlepoint.evaluation.callback import ScoreCallback
from saddlepoint.gans import Game
from saddlepoint.runs import command_line
from saddlepoint.runs.build import build_game
from saddlepoint.runs.callbacks import callback_of
from saddlepoint.runs.callbacks.final_scores import FinalScores
from saddlepoint.runs.closing_screen import closing_screen
from saddlepoint.runs.current_run import CurrentRun, new_folder, title_of
from saddlepoint.runs.loggers import finish
from saddlepoint.runs.overrides import resolved, typed_overrides
from saddlepoint.runs.progress import output
from saddlepoint.runs.resume import resume
from saddlepoint.runs.settings import check_settings, check_terms
from saddlepoint.runs.stages import FOLDER, after_stages
from saddlepoint.runs.trained_run import TrainedRun
from saddlepoint.runs.trainer import build_callbacks, build_loggers, build_trainer


@hydra.main(version_base="1.3", config_path=str(command_line.CONF), config_name="train")
def _composed(config: DictConfig) -> float | None:
    """Train one run from composed settings."""
    with command_line.mistakes():
        return train(config, typed_overrides(), on_stop=sys.exit)


def train(
    config: DictConfig, overrides: list[str], on_stop: Callable[[int], Any] = lambda code: None
) -> float | None:
    """Train one run, fresh or resumed; return its last score, or None where nothing scores.

    Args:
        config: composed settings.
        overrides: the command line that led to them.
        on_stop: gets the exit code, 128 and the signal's number, if a signal ended the run early.
    """
    _quiet_lightning()
    console = output()
    # Whatever can be wrong with settings and data is found before the run's folder is made.
    check_settings(_known_before(config), "train")
    config, overrides, left = resume(config, overrides)
    if left is not None:
        check_settings(config, "train")
    overrides = resolved(overrides, config)
    check_terms(config, overrides)
    data = instantiate(config.datamodule, _convert_="all")
    say = rank_zero_only(partial(console.print, soft_wrap=True))
    data = after_stages(config.stages, data, Path(config.output_dir) / FOLDER, say)
    game = build_game(config, data.spec)
    if left is not None:
        _take_up(left, game, data, config.allow_changes)
    else:
        game.fill(data)
    title = title_of(config, data.spec.name, game)
    new_output_dir = not Path(config.output_dir).exists()
    run = CurrentRun(
        config,
        overrides,
        title=title,
        data=data.spec.plain(),
        folder=new_folder(config, title) if left is None else left.folder,
        seconds_before=0.0 if left is None else left.seconds,
        new_output_dir=new_output_dir,
    )
    with run:
        if left is not None and left.checkpoint.stat().st_mtime_ns != left.written:
            raise UserError(f"The run {run.folder} went on in the meantime: resume it once more.")
        objective = _play(run, game, data, console)
    if run.stopped_by and game.iteration < game.iterations:
        on_stop(128 + signal.Signals[run.stopped_by])
    return objective


def _play(run: CurrentRun, game: Game, data: DataModule, console: Console) -> float | None:
    """Fit, score and record; the run's folder is this process's own."""
    callbacks = build_callbacks(run)
    for callback in callbacks:
        if hasattr(callback, "check"):
            callback.check(data, game)
    trainer = build_trainer(run, callbacks, build_loggers(run, game.iteration))

    data.plan(
        seed=game.seed,
        batch_size=game.batch_size,
        batches_per_iteration=game.batches_per_iteration,
        iterations=game.iterations,
        start=game.iteration,
    )
    if trainer.is_global_zero:
        run.begin()
        console.print(
            f"{run.title}: {game.iterations:,} iterations, in {run.folder}", soft_wrap=True
        )
    for logger in trainer.loggers:
        logger.log_hyperparams(run.settings)
    try:
        trainer.fit(game, data)
    finally:
        finish(trainer.loggers)
    if trainer.is_global_zero:
        closing_screen(console, run, trainer, game)
    return _objective(trainer, game)


def _known_before(config: DictConfig) -> DictConfig:
    """What means something before a run is found that the other settings come on top of."""
    if config.ckpt is None:
        return config
    return OmegaConf.masked_copy(config, ["ckpt", "trust", "output_dir", "allow_changes"])


def _take_up(left: TrainedRun, game: Game, data: DataModule, allow_changes: bool) -> None:
    """Put the game where the run left it, on the data it left."""
    if not left.was_trained_on(data) and not allow_changes:
        raise UserError(
            f"The data {data.spec.name} are not those this run began with: put them back, or add"
            " allow_changes=true."
        )
    game.load_state(left.content["game"])


def _objective(trainer: pl.Trainer, game: Game) -> float | None:
    final, monitor = (callback_of(trainer, kind) for kind in (FinalScores, ScoreCallback))
    if final is not None and game.iteration in final.results:
        return next(iter(final.results[game.iteration].means.values()))
    return next(iter(monitor.last_scores.values()), None) if monitor is not None else None


def _quiet_lightning() -> None:
    """Silence advice that does not apply to a game: its blocks, steps and epochs are its own."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="lightning_fabric")


def main() -> None:
    """Run the command with the words of the command line."""
    command_line.run(_composed)
