"""The best checkpoints of a run, and what they score under the full protocol at its end."""

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from saddlepoint.devices import device_name
from saddlepoint.evaluation.callback import ScoreCallback, untouched
from saddlepoint.evaluation.evaluator import ConstantImagesError, Scores
from saddlepoint.evaluation.fakes import GeneratorFakes
from saddlepoint.evaluation.ranks import from_first_rank
from saddlepoint.gans import Game
from saddlepoint.records.origin import origin
from saddlepoint.records.reading import read_records
from saddlepoint.records.record import append_record, cost, make_record
from saddlepoint.runs import checkpoint_file
from saddlepoint.runs.build import game_of_checkpoint
from saddlepoint.runs.checkpointing import Checkpointing

log = logging.getLogger(__name__)


class BestCheckpoints(pl.Callback):
    """Keeps the checkpoints with the best scores so far, as ``best-{iteration}.ckpt``.

    Which score decides: the first one of the protocol while training.

    Args:
        scores: computes them; comes before this in the trainer's callbacks.
        checkpoints: writes them.
        keep: how many.
    """

    def __init__(self, scores: ScoreCallback, checkpoints: Checkpointing, keep: int) -> None:
        self.scores, self.checkpoints, self.keep = scores, checkpoints, keep

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.checkpoints.path.parent

    def ranking(self) -> list[int]:
        """Iterations that were scored, the best first."""
        costs = {record["iteration"]: cost(record) for record in self.scores.history}
        return sorted(costs, key=costs.__getitem__)

    def best(self) -> Path | None:
        """The best checkpoint that is there."""
        paths = (self.path_of(iteration) for iteration in self.ranking())
        return next((path for path in paths if path.exists()), None)

    def path_of(self, iteration: int) -> Path:
        """File of the checkpoint after ``iteration`` iterations."""
        return self.folder / f"best-{iteration:08d}.ckpt"

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, *_: Any) -> None:
        """Write a checkpoint if it is one of the best, and remove the one that is no longer."""
        history = self.scores.history
        if not self.keep or not history or history[-1]["iteration"] != game.iteration:
            return
        kept = [self.path_of(iteration) for iteration in self.ranking()[: self.keep]]
        if self.path_of(game.iteration) in kept:
            self.checkpoints.write(trainer, game, self.path_of(game.iteration))
        if trainer.is_global_zero:
            for path in set(self.folder.glob("best-*.ckpt")) - set(kept):
                path.unlink()


class FinalScores(pl.Callback):
    """Scores the last generator and the best one under the full protocol when the run is over.

    Args:
        evaluator: of the full protocol.
        scores: those while training.
        best: the checkpoints kept by them.

    Attributes:
        results: {iteration: scores} of this process.
    """

    def __init__(self, evaluator: Any, scores: ScoreCallback, best: BestCheckpoints) -> None:
        self.evaluator, self.scores, self.best = evaluator, scores, best
        self.results: dict[int, Scores] = {}

    def check(self, data: Any, game: Game | None = None) -> None:
        """Find out before the run whether its scores can be had at the end.

        Raises:
            UserError: weights of an extractor, images, or what outputs are compared with, are
                missing.
        """
        self.evaluator.check(data, None if game is None else GeneratorFakes(game, data))

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        """Score, unless the run was stopped before its end."""
        if game.iteration < game.iterations:
            return
        trainer.strategy.barrier()  # the first rank has written the best checkpoint
        with untouched(game):
            fakes = GeneratorFakes(game, trainer.datamodule)
            evaluator = self.evaluator.prepare(trainer.datamodule, game.device, fakes=fakes)
            if evaluator.protocol_for(fakes) is None:
                return
            games = {game.iteration: (game, self.scores.seconds)}
            # Other machines may not see the first one's disk.
            path = self.best.best() if trainer.is_global_zero else None
            content = from_first_rank(None if path is None else checkpoint_file.load(path))
            if content is not None:
                best = game_of_checkpoint(content).to(game.device)
                games.setdefault(best.iteration, (best, content["seconds"]))
            for _, (player, seconds) in sorted(games.items()):
                self._score(evaluator, player, seconds, trainer)

    def _score(self, evaluator: Any, game: Game, seconds: float, trainer: pl.Trainer) -> None:
        fakes, iteration = GeneratorFakes(game, trainer.datamodule), game.iteration
        protocol = evaluator.protocol_for(fakes)
        known = {(r["fingerprint"], r["iteration"]) for r in read_records(self.scores.path)}
        if from_first_rank((protocol.fingerprint, iteration) in known):
            return
        try:
            self.results[iteration] = evaluator.score(fakes)
        except ConstantImagesError as error:
            log.warning("Iteration %d has no score. %s", iteration, error)
            return
        if trainer.is_global_zero:
            record = make_record(
                self.results[iteration],
                iteration=iteration,
                kimg=game.kimg,
                seconds=seconds,
                run=self.scores.run,
                made_by=origin(device_name(game.device), trainer.world_size),
            )
            append_record(self.scores.path, record)
