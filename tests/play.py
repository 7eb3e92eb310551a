"""Helpers to play a game in a test: tiny data, a quiet trainer, nothing written."""

import logging
import warnings

import pytorch_lightning as pl
import torch

from saddlepoint.gans import Game
from saddlepoint.items import Items


class Blocks:
    """The same random reals in every iteration, as a data module would hand them over."""

    def __init__(self, game: Game, start=0, stop=None, num_classes=10, seed=0):
        generator = torch.Generator().manual_seed(seed)
        n = game.batches_per_iteration * game.batch_size
        self.images = torch.rand(n, *game.generator.shape, generator=generator) * 2 - 1
        self.labels = torch.randint(num_classes, (n,), generator=generator)
        self.start, self.stop = start, stop or game.iterations

    def __len__(self):
        return self.stop - self.start

    def __iter__(self):
        for iteration in range(self.start, self.stop):
            yield {"iteration": iteration, "reals": Items(image=self.images, label=self.labels)}


def play(game: Game, stop=None, callbacks=(), **options) -> Game:
    """Play a game from where it is to iteration ``stop`` (its end by default)."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=False,
            callbacks=list(callbacks),
            limit_val_batches=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        classes = 1 if game.condition is None else max(game.condition.num_classes, 1)
        trainer.fit(game, Blocks(game, game.iteration, stop, classes, **options))
    return game


def snapshot(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copy of all parameters and buffers."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, torch.Tensor], module: torch.nn.Module) -> set[str]:
    """Names of parameters that are not what they were."""
    names = {name for name, _ in module.named_parameters()}
    after = module.state_dict()
    return {name for name in names if not torch.equal(before[name], after[name])}
