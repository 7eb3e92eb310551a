"""What the best and the last generator score under the full protocol when the run is over."""

import contextlib
import logging
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate

from saddlepoint.devices import device_name
from saddlepoint.evaluation.callback import untouched
from saddlepoint.evaluation.evaluator import ConstantImagesError, Scores
from saddlepoint.evaluation.fakes import GeneratorFakes
from saddlepoint.evaluation.interruption import ScoreInterruptedError
from saddlepoint.evaluation.ranks import from_first_rank
from saddlepoint.gans import Game
from saddlepoint.records.origin import origin
from saddlepoint.records.reading import read_records
from saddlepoint.records.record import FILE_NAME, append_record, make_record
from saddlepoint.runs import checkpoint_file
from saddlepoint.runs.build import build_game
from saddlepoint.runs.callbacks import callback_of
from saddlepoint.runs.callbacks.best_checkpoints import BestCheckpoints
from saddlepoint.runs.current_run import CurrentRun
from saddlepoint.schema import checked

log = logging.getLogger(__name__)


class FinalScores(pl.Callback):
    """Scores the last generator and the best one under the protocol of ``protocol=`` at the end.

    Args:
        run: that is scored.
        also_raw: score the trained weights as well where their moving average is sampled, so that
            the run can be compared with others that have none.

    Attributes:
        results: {iteration: scores} of this process, of the weights that are sampled.
        are_made: whether all scores that the run is to have at its end are recorded.
    """

    @checked
    def __init__(self, run: CurrentRun, also_raw: bool = False) -> None:
        self.run, self.also_raw = run, also_raw
        self.evaluator = instantiate(run.config.protocol, _convert_="all")
        self.results: dict[int, Scores] = {}
        self.are_made = False

    def check(self, data: Any, game: Game | None = None) -> None:
        """Find out before the run whether its scores can be had at the end.

        Raises:
            UserError: weights of an extractor, images, or what outputs are compared with, are
                missing.
        """
        self.evaluator.check(data, None if game is None else GeneratorFakes(game, data))

    def on_fit_start(self, trainer: pl.Trainer, game: Game) -> None:
        """Make the scores up of a run that was stopped between its training and its end."""
        if game.iteration == game.iterations:
            self.on_train_end(trainer, game)

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        """Score, unless the run was stopped before its end."""
        if game.iteration < game.iterations:
            return
        with contextlib.suppress(ScoreInterruptedError):
            self._score_all(trainer, game)
            self.are_made = True

    def _score_all(self, trainer: pl.Trainer, game: Game) -> None:
        trainer.strategy.barrier()  # the first rank has written the best checkpoint
        with untouched(game):
            fakes = GeneratorFakes(game, trainer.datamodule)
            evaluator = self.evaluator.prepare(
                trainer.datamodule, game.device, fakes=fakes, stopped=self.run.is_stopped
            )
            if evaluator.protocol_for(fakes) is None:
                return
            games = {game.iteration: (game, self.run.seconds)}
            content = self._best(trainer)
            if content is not None:
                # Of this run's own settings: those in the file are a file's.
                best = build_game(self.run.config, trainer.datamodule.spec).to(game.device)
                best.load_state(content["game"])
                games.setdefault(best.iteration, (best, content["seconds"]))
            for _, (player, seconds) in sorted(games.items()):
                sampled = GeneratorFakes(player, trainer.datamodule)
                others = [sampled.with_other_weights] if self.also_raw else []
                # What is recorded last is the score that a search or a sweep goes by.
                for fakes in (*filter(None, others), sampled):
                    self._score(evaluator, fakes, seconds, trainer)

    def _best(self, trainer: pl.Trainer) -> dict[str, Any] | None:
        # Other machines may not see the first one's disk.
        kept = callback_of(trainer, BestCheckpoints)
        path = kept.best() if kept is not None and trainer.is_global_zero else None
        return from_first_rank(None if path is None else checkpoint_file.load(path))

    def _score(
        self, evaluator: Any, fakes: GeneratorFakes, seconds: float, trainer: pl.Trainer
    ) -> None:
        game, iteration = fakes.game, fakes.game.iteration
        protocol = evaluator.protocol_for(fakes)
        path = self.run.folder / FILE_NAME
        known = {(r["fingerprint"], r["iteration"]) for r in read_records(path)}
        if from_first_rank((protocol.fingerprint, iteration) in known):
            return
        try:
            scores = evaluator.score(fakes)
        except ConstantImagesError as error:
            log.warning("Iteration %d has no score. %s", iteration, error)
            return
        if not fakes.raw:
            self.results[iteration] = scores
        if trainer.is_global_zero:
            record = make_record(
                scores,
                iteration=iteration,
                kimg=game.kimg,
                seconds=seconds,
                run=self.run.about,
                made_by=origin(device_name(game.device), trainer.world_size),
                parameters=fakes.parameters,
            )
            append_record(path, record)
