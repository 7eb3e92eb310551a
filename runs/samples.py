"""The same latents again and again: what the generator has learned so far."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from saddlepoint.gans import Game
from saddlepoint.runs.pictures import save_picture


class SampleGrids(pl.Callback):
    """Writes a picture of fixed samples every so often and at the end, and sends it to the loggers.

    Args:
        folder: gets ``{iteration:06d}.png`` and, at the end, ``final.png``.
        every: iterations between pictures.
        images: samples in a grid; ``points`` in a scatter plot.
        points: samples of two-dimensional data.
    """

    def __init__(self, folder: Path, every: int, images: int = 64, points: int = 2000) -> None:
        self.folder, self.every = folder, every
        self.images, self.points = images, points

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        """Show the untrained generator."""
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
        count = self.points if len(game.generator.shape) == 1 else self.images
        samples = game.pictures(range(count), data=trainer.datamodule)
        samples = torch.stack(list(samples.values()), dim=1).flatten(0, 1)
        path = save_picture(samples, self.folder / name)
        for logger in trainer.loggers:
            _send(logger, path, samples, game.iteration)


def _send(logger: Any, path: Path, samples: Tensor, iteration: int) -> None:
    if isinstance(logger, WandbLogger):
        logger.log_image("samples", [str(path)], step=iteration)
    elif isinstance(logger, TensorBoardLogger) and samples.ndim == 4:
        logger.experiment.add_images("samples", (samples.clamp(-1, 1) + 1) / 2, iteration)
