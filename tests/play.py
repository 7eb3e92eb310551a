"""Helpers to play a game in a test: tiny data, a quiet trainer, nothing written."""

import inspect
import logging
import warnings

import pytorch_lightning as pl
import torch
from hydra.utils import get_class, instantiate

from saddlepoint.datamodules.base import DataSpec
from saddlepoint.gans import Game
from saddlepoint.items import Items


def spec_of(shape, num_classes=0, num_items=100, attributes=(), **fields) -> DataSpec:
    """Say what some data are; ``fields`` are the shapes of further ones."""
    if num_classes:
        fields["label"] = ()
    if attributes:
        fields["attributes"] = (len(attributes),)
    return DataSpec.from_plain(
        {
            "name": "some_data",
            "shape": list(shape),
            "num_items": num_items,
            "classes": [f"class {k}" for k in range(num_classes)],
            "attributes": list(attributes),
            "digest": "0",
            "fields": {"image": list(shape), **fields},
        }
    )


class Blocks:
    """The same random reals in every iteration, as a data module would hand them over."""

    def __init__(self, game: Game, start=0, stop=None, num_classes=10, seed=0):
        generator = torch.Generator().manual_seed(seed)
        n = game.batches_per_iteration * game.batch_size
        self.images = torch.rand(n, *game.generator.shape, generator=generator) * 2 - 1
        labels = torch.randint(num_classes, (n,), generator=generator)
        self.reals = Items(image=self.images, label=labels)
        if game.condition is not None and game.condition.kind == "attributes":
            attributes = torch.randint(2, (n, game.condition.features), generator=generator)
            boxes = torch.tensor([[2.0, 2, 10, 8]]).expand(n, len(game.condition.allowed), 4)
            self.reals = self.reals.but(attributes=attributes.float(), boxes=boxes)
        if "shots" in game.task.reads:
            target, shots = (labels + 1) % num_classes, self.images.flip(0)[:, None]
            self.reals = self.reals.but(target=target, shots=shots)
        self.start, self.stop = start, stop or game.iterations

    def __len__(self):
        return self.stop - self.start

    def __iter__(self):
        for iteration in range(self.start, self.stop):
            yield {"iteration": iteration, "reals": self.reals}


class Made(Blocks):
    """Reals that a function of the iteration makes."""

    def __init__(self, game: Game, make, stop=None):
        self.start, self.stop, self.make = game.iteration, stop or game.iterations, make

    def __iter__(self):
        for iteration in range(self.start, self.stop):
            yield {"iteration": iteration, "reals": self.make(iteration)}


def play(game: Game, stop=None, callbacks=(), blocks=None, **options) -> Game:
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
        if blocks is None:
            classes = 1 if game.condition is None else max(game.condition.num_classes, 1)
            blocks = Blocks(game, game.iteration, stop, classes, **options)
        trainer.fit(game, blocks)
    return game


def networks_of(settings, shape, condition=None, **options) -> dict[str, torch.nn.Module]:
    """Make the networks of a choice of network=, each with what it asks for."""
    known = {"shape": shape, "condition": condition}
    networks = {}
    for name, node in settings.items():
        asked = inspect.signature(get_class(node._target_)).parameters
        given = {k: v for k, v in known.items() if k in asked and k not in node}
        make = instantiate(node, _partial_=True, _convert_="all")
        networks[name] = make(**given, **options)
    return networks


def snapshot(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copy of all parameters and buffers."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, torch.Tensor], module: torch.nn.Module) -> set[str]:
    """Names of parameters that are not what they were."""
    names = {name for name, _ in module.named_parameters()}
    after = module.state_dict()
    return {name for name in names if not torch.equal(before[name], after[name])}
