"""The checkpoints with the best scores so far."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from saddlepoint.evaluation.callback import ScoreCallback
from saddlepoint.gans import Game
from saddlepoint.records.record import cost
from saddlepoint.runs.callbacks import callback_of
from saddlepoint.runs.current_run import CurrentRun
from saddlepoint.schema import Natural, checked


class BestCheckpoints(pl.Callback):
    """Keeps the checkpoints with the best scores so far, as ``best-{iteration}.ckpt``.

    Which score decides: the first one of the protocol while training. Comes after the callback
    that computes it.

    Args:
        run: whose they are.
        keep: how many.
    """

    counts_iterations = True  # see gans/stretch.py

    @checked
    def __init__(self, run: CurrentRun, keep: Natural) -> None:
        self.run, self.keep = run, keep
        self.history: list[dict[str, Any]] = []

    def on_fit_start(self, trainer: pl.Trainer, game: Game) -> None:
        """Take part in a score that was made up; see `evaluation.callback`."""
        self.on_train_batch_end(trainer, game)

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, *_: Any) -> None:
        """Write a checkpoint if it is one of the best, and remove the one that is no longer."""
        scores = callback_of(trainer, ScoreCallback)
        self.history = scores.history if scores is not None else []
        if not self.keep or not self.history or self.history[-1]["iteration"] != game.iteration:
            return
        kept = [self.path_of(iteration) for iteration in self.ranking()[: self.keep]]
        if self.path_of(game.iteration) in kept:
            self.run.save(trainer, game, self.path_of(game.iteration))
        if trainer.is_global_zero:
            for path in set(self.run.checkpoint.parent.glob("best-*.ckpt")) - set(kept):
                path.unlink()

    def ranking(self) -> list[int]:
        """Iterations that were scored, the best first."""
        costs = {record["iteration"]: cost(record) for record in self.history}
        return sorted(costs, key=costs.__getitem__)

    def best(self) -> Path | None:
        """The best checkpoint that is there."""
        paths = (self.path_of(iteration) for iteration in self.ranking())
        return next((path for path in paths if path.exists()), None)

    def path_of(self, iteration: int) -> Path:
        """File of the checkpoint after ``iteration`` iterations."""
        return self.run.checkpoint.with_name(f"best-{iteration:08d}.ckpt")
