"""An animation and a film strip of the pictures of a run, when it ends."""

import pytorch_lightning as pl

from saddlepoint.gans import Game
from saddlepoint.runs.animation import frames_of, pictures_of_training, save_animation
from saddlepoint.runs.current_run import CurrentRun
from saddlepoint.runs.film_strip import NAME, film_strip
from saddlepoint.runs.pictures import save


class Animation(pl.Callback):
    """Makes ``samples/training.gif`` and ``samples/strip.png`` of the pictures in that folder.

    Also of a run cut short.

    Comes after `sample_grids.SampleGrids`, which writes them. A run that is resumed goes on with
    the pictures that are there.

    Args:
        run: whose pictures they are.
    """

    def __init__(self, run: CurrentRun) -> None:
        self.folder = run.folder / "samples"

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        """Put the pictures together, if there are several."""
        paths = pictures_of_training(self.folder)
        if trainer.is_global_zero and len(paths) > 1:
            save_animation(frames_of(paths), self.folder / "training.gif")
            save(film_strip(paths), self.folder / NAME)
