"""The same inputs again and again: what the generator has learned so far."""

from typing import Any

import pytorch_lightning as pl

from saddlepoint.evaluation.callback import ScoreCallback
from saddlepoint.gans import Game
from saddlepoint.runs.callbacks import callback_of
from saddlepoint.runs.captions import caption_of, captioned
from saddlepoint.runs.current_run import CurrentRun
from saddlepoint.runs.loggers import send_picture
from saddlepoint.runs.pictures import picture_of, save
from saddlepoint.runs.point_pictures import PointPictures
from saddlepoint.schema import Count, Images, checked


class SampleGrids(pl.Callback):
    """Writes a picture of fixed samples every so often and at the end, and sends it to the loggers.

    Pictures are ``samples/{iteration:06d}.png`` and, at the end, ``final.png`` beside them, with
    run, iteration and scores of that moment in each. Points of known density are drawn over it.

    Args:
        run: whose samples they are.
        every: iterations between pictures.
        images: samples in a grid.
        points: samples of points.
    """

    counts_iterations = True  # see gans/stretch.py

    @checked
    def __init__(
        self, run: CurrentRun, every: Count, images: Images = 64, points: Images = 2000
    ) -> None:
        self.every, self.folder, self.title = every, run.folder / "samples", run.title
        self.count = points if len(run.data["shape"]) == 1 else images

        self.over_density: PointPictures | None = None

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        """Show the untrained generator."""
        shows_points = PointPictures.suit(trainer.datamodule) and not game.needs_data
        if trainer.is_global_zero and shows_points:
            self.over_density = PointPictures(trainer.datamodule)
        if game.iteration == 0:
            self._write(trainer, game, f"{0:06d}.png")

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, *_: Any) -> None:
        """Write the picture when it is due."""
        if game.iteration % self.every == 0:
            self._write(trainer, game, f"{game.iteration:06d}.png")
        if game.iteration == game.iterations:
            self._write(trainer, game, "final.png")

    def _write(self, trainer: pl.Trainer, game: Game, name: str) -> None:
        if not trainer.is_global_zero:
            return
        samples = game.pictures(range(self.count), data=trainer.datamodule)
        caption = caption_of(self.title, game.iteration, _scores_now(trainer, game))
        if self.over_density is None:
            picture = captioned(picture_of(samples), caption)
        else:
            picture = self.over_density.draw(samples["samples"], caption)
        save(picture, self.folder / name)
        send_picture(trainer.loggers, "samples", picture, game.iteration, game.kimg)


def _scores_now(trainer: pl.Trainer, game: Game) -> dict[str, float]:
    """Scores of this very iteration; none if it was not scored."""
    callback = callback_of(trainer, ScoreCallback)
    history = [] if callback is None else callback.history
    now = history and history[-1]["iteration"] == game.iteration
    return history[-1]["scores"] if now else {}
