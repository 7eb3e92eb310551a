"""Train a GAN: compose, fit, score, record.

Returns the last score, under the full protocol where there is one, so that any Hydra sweeper can
drive it.
"""

import logging
import warnings
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from saddlepoint.errors import UserError
from saddlepoint.evaluation.callback import ScoreCallback
from saddlepoint.runs import command_line
from saddlepoint.runs.best import BestCheckpoints, FinalScores
from saddlepoint.runs.build import build_game
from saddlepoint.runs.checkpoint_file import LAST
from saddlepoint.runs.checkpointing import Checkpointing
from saddlepoint.runs.closing import closing_screen
from saddlepoint.runs.folder import description, new_folder, title, write_settings
from saddlepoint.runs.loggers import CSVFile
from saddlepoint.runs.progress import StatusLine, output
from saddlepoint.runs.resume import resume
from saddlepoint.runs.samples import SampleGrids


@hydra.main(version_base="1.3", config_path=str(command_line.CONF), config_name="train")
def _composed(config: DictConfig) -> float | None:
    """Train one run from composed settings."""
    with command_line.mistakes():
        return train(config, list(HydraConfig.get().overrides.task))


def train(config: DictConfig, overrides: list[str]) -> float | None:
    """Train one run, fresh or resumed; return its last score, or None where nothing scores.

    Args:
        config: composed settings.
        overrides: the command line that led to them.
    """
    _quiet_lightning()
    config, overrides, content, folder = resume(config, overrides)

    # Whatever can be wrong with settings and data is found before anything is written.
    _check(config)
    data = instantiate(config.datamodule, _convert_="all")
    game = build_game(config, data.spec)
    if content is not None:
        _check_data(content, data.spec, config.allow_changes)
        game.load_state(content["game"])
    data.plan(
        seed=config.seed,
        batch_size=config.batch_size,
        batches_per_iteration=game.batches_per_iteration,
        iterations=config.iterations,
        start=game.iteration,
    )
    name = title(config, data.spec, game)
    about = description(config, data.spec)
    folder = folder or new_folder(config, name)
    console = output()

    seconds_before = content["seconds"] if content is not None else 0.0
    scores = ScoreCallback(
        instantiate(config.monitor, _convert_="all"),
        every=config.score_every,
        folder=folder,
        run={"title": name, **about},
        seconds_before=seconds_before,
    )
    header = {**about, "overrides": overrides}
    checkpoints = Checkpointing(folder / LAST, config.checkpoint_every, header, seconds_before)
    best = BestCheckpoints(scores, checkpoints, config.keep_best)
    final = FinalScores(instantiate(config.protocol, _convert_="all"), scores, best)
    scores.check(data, game)
    final.check(data, game)
    status = StatusLine(console)
    samples = SampleGrids(folder / "samples", config.sample_every)
    loggers = [CSVFile(folder / "metrics.csv", game.iteration)]
    if config.logger:
        loggers.append(instantiate(config.logger, save_dir=str(folder), name=folder.name))
    trainer = instantiate(
        config.trainer,
        max_epochs=1,  # an epoch of the trainer is the whole run
        logger=loggers,
        callbacks=[scores, samples, best, checkpoints, final, status],
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=str(folder),
        _convert_="all",
    )
    if trainer.is_global_zero:
        write_settings(folder, config, overrides)
        console.print(f"{name}: {config.iterations:,} iterations, in {folder}", soft_wrap=True)
    trainer.fit(game, data)
    if trainer.is_global_zero:
        closing_screen(
            console,
            title=name,
            game=game,
            folder=folder,
            seconds=checkpoints.seconds,
            scores=scores.last_scores,
            first_scores=scores.history[0]["scores"] if scores.history else {},
            final_scores=final.results,
            notes=scores.notes,
            stopped_by=checkpoints.stopped_by,
        )
    full = final.results.get(game.iteration)
    return next(iter((full.means if full else scores.last_scores).values()), None)


def _check(config: DictConfig) -> None:
    for key in ("iterations", "batch_size", "sample_every", "score_every", "checkpoint_every"):
        if config[key] < 1:
            raise UserError(f"{key}={config[key]} makes no run: give a number of at least 1.")


def _check_data(content: dict[str, Any], spec: Any, allow_changes: bool) -> None:
    if content["data"]["digest"] != spec.digest and not allow_changes:
        raise UserError(
            f"The data {spec.name} are not those this run began with: put them back, or add"
            " allow_changes=true."
        )


def _quiet_lightning() -> None:
    """Silence advice that does not apply to a game: its blocks, steps and epochs are its own."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="lightning_fabric")


def main() -> None:
    """Run the command with the words of the command line."""
    command_line.run(_composed)
