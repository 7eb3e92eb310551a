"""Train a GAN: compose, make what the method needs, build, fit, score, record.

Returns the last score, under the full protocol where there is one, so that any Hydra sweeper can
drive it.
"""

import contextlib
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console

from saddlepoint.datamodules.base import DataModule
from saddlepoint.errors import UserError
from saddlepoint.evaluation.callback import ScoreCallback
from saddlepoint.evaluation.interruption import ScoreInterruptedError
from saddlepoint.gans import Game
from saddlepoint.records.objective import Objective, first_score
from saddlepoint.records.reading import read_records
from saddlepoint.runs.build import build_game
from saddlepoint.runs.callbacks import callback_of
from saddlepoint.runs.callbacks.last_checkpoint import hand_over, signals_given_back
from saddlepoint.runs.closing_screen import closing_screen, is_unfinished, missing_scores
from saddlepoint.runs.current_run import CurrentRun, new_folder, title_of
from saddlepoint.runs.loggers import finish
from saddlepoint.runs.lost_ranks import none_is_lost
from saddlepoint.runs.overrides import resolved, typed_overrides
from saddlepoint.runs.progress import output
from saddlepoint.runs.resume import resume, take_up
from saddlepoint.runs.same_command import AUTO, play_or_go_on
from saddlepoint.runs.settings import check_settings, check_terms, known_before
from saddlepoint.runs.stages import FOLDER, after_stages
from saddlepoint.runs.sweeps.point import play_point
from saddlepoint.runs.threads import ALLOTTED, share_of_the_cores
from saddlepoint.runs.trained_run import TrainedRun
from saddlepoint.runs.trainer import build_callbacks, build_loggers, build_trainer


def run(config: DictConfig) -> float | None:
    """Train one run, or one point of a sweep, from settings that Hydra composed for a command."""
    play = partial(train, config, typed_overrides(), sys.exit)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return play_point(config, play)
    return play_or_go_on(config, play) if config.ckpt == AUTO else play()


def train(
    config: DictConfig,
    overrides: list[str],
    on_stop: Callable[[int], Any] = lambda code: None,
    point: Path | None = None,
) -> float | None:
    """Train one run, fresh or resumed; return its last score, or None where nothing scores.

    Args:
        config: composed settings.
        overrides: the command line that led to them.
        on_stop: gets the exit code, 128 and the signal's number, if a signal ended the run early;
            in a sweep also if it came too late for that.
        point: folder of a sweep's point, or of ``ckpt=auto``, which the caller holds; what lies
            there is gone on with.
    """
    _quiet_lightning()
    console = output()
    # Whatever can be wrong with settings and data is found before the run's folder is made.
    check_settings(config if point else known_before(config), "train")
    typed = resolved(overrides, config)
    resumption = take_up(point, config, overrides) if point else resume(config, overrides)
    config, overrides, left, _ = resumption
    if left is not None:
        check_settings(config, "train")
    overrides = resolved(overrides, config)
    check_terms(config, overrides)
    data = instantiate(config.datamodule, _convert_="all")
    say = rank_zero_only(partial(console.print, soft_wrap=True))
    data, reports = after_stages(config.stages, data, Path(config.output_dir) / FOLDER, say)
    game = build_game(config, data.spec)
    if left is not None:
        _take_up(left, game, data, config.allow_changes)
    elif game.condition is not None:
        game.condition.fill(data)
    game.fill(data)
    title = title_of(config, data.spec.name, game)
    new_output_dir = not Path(config.output_dir).exists()
    run = CurrentRun(
        config,
        overrides,
        title=title,
        data=data.spec.plain(),
        condition=game.condition and game.condition.kind,
        stages=reports,
        folder=point or (new_folder(config, title) if left is None else left.folder),
        typed=typed,
        iteration=0 if left is None else left.iteration,
        changes=resumption.history,
        seconds_before=0.0 if left is None else left.seconds,
        new_output_dir=new_output_dir,
        is_locked=point is not None,
    )
    with run:
        if left is not None and left.checkpoint.stat().st_mtime_ns != left.written:
            raise UserError(f"The run {run.folder} went on in the meantime: resume it once more.")
        before = None if left is None else left.threads
        trainer = _play(run, game, data, console, before)
    # The first process alone: launchers kill the others when one ends with another code than 0.
    is_cut = is_unfinished(trainer, game) or point is not None
    if run.stopped_by and is_cut and trainer.is_global_zero:
        number = signal.Signals[run.stopped_by]
        if is_unfinished(trainer, game):
            hand_over(number)
        on_stop(128 + number)
    return _objective(run, trainer, game)


def _play(
    run: CurrentRun, game: Game, data: DataModule, console: Console, threads: int | None
) -> pl.Trainer:
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
        stretch=game.iterations_per_step(trainer),
    )
    if trainer.is_global_zero:
        run.begin()
        console.print(
            f"{run.title}: {game.iterations:,} iterations, in {run.folder}", soft_wrap=True
        )
    for logger in trainer.loggers:
        logger.log_hyperparams(run.settings)
    interrupted = False
    with signals_given_back(), _cores(trainer, threads), none_is_lost(trainer, run.folder):
        try:
            trainer.fit(game, data)
        except ScoreInterruptedError:  # before the first iteration of this process
            interrupted = True
            if not run.checkpoint.exists():
                run.save(trainer, game)
        finally:
            finish(trainer.loggers)
    if interrupted or missing_scores(trainer, game):
        # Whichever process the signal came to.
        run.stopped_by = run.stopped_by or signal.SIGTERM.name
    if trainer.is_global_zero:
        if not is_unfinished(trainer, game):
            run.finish(_objective(run, trainer, game))
        closing_screen(console, run, trainer, game)
    return trainer


def _cores(trainer: pl.Trainer, before: int | None) -> contextlib.AbstractContextManager[None]:
    """The first process looks for other runs; others inherit what it finds, or SLURM says it."""
    if not trainer.is_global_zero and ALLOTTED not in os.environ:
        return contextlib.nullcontext()
    if trainer.strategy.root_device.type != "cpu":
        before = None  # nothing that is learned is computed by threads
    return share_of_the_cores(before, max(1, trainer.world_size // trainer.num_nodes))


def _take_up(left: TrainedRun, game: Game, data: DataModule, allow_changes: bool) -> None:
    """Put the game where the run left it, on the data it left."""
    if not left.was_trained_on(data) and not allow_changes:
        raise UserError(
            f"The data {data.spec.name} are not those this run began with: put them back, or add"
            " allow_changes=true."
        )
    game.load_state(left.content["game"])


def _objective(run: CurrentRun, trainer: pl.Trainer, game: Game) -> Objective | None:
    """The last score; of the last iteration the one recorded last, by whatever process."""
    made = [r for r in read_records(run.records) if r["iteration"] == game.iteration]
    if not made and (monitor := callback_of(trainer, ScoreCallback)) is not None:
        made = monitor.history  # the last generator had no score, or the records are elsewhere
    return first_score(made[-1]["scores"], made[-1]["directions"]) if made else None


def _quiet_lightning() -> None:
    """Silence advice that does not apply to a game: its blocks, steps and epochs are its own."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="lightning_fabric")
