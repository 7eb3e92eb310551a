"""Few faces with conditions of a small representation, and games on them, for tests."""

import torch
from few_faces import FEW, FewFaces
from omegaconf import OmegaConf
from play import Made, play
from train_cli import QUICK

from saddlepoint.gans import LatentConditioned
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.runs.stages import after_stages

SHAPE = (3, 32, 32)
TRUST = "trust=[few_faces]"
#: Three stages in moments.
SMALL = [
    *("gan=latent_conditioned", *FEW, *QUICK, "iterations=2"),
    *("stages.representation.epochs=1", "stages.representation.method.width=2"),
    *("stages.conditioner.k=4", "stages.conditioner.restarts=2"),
]


def representation(**settings):
    method = {"_target_": "saddlepoint.representations.simclr.SimCLR", "width": 2}
    stage = "saddlepoint.runs.learned_representation.LearnedRepresentation"
    return {"_target_": stage, "method": method, "epochs": 1, "device": "cpu", **settings}


def conditioner(mode, **settings):
    stage = "saddlepoint.runs.conditioner.Conditioner"
    return {"_target_": stage, "mode": mode, "k": 4, "restarts": 2, **settings}


def networks(condition, **options):
    torch.manual_seed(0)
    return (
        LiteGenerator(shape=SHAPE, width=8, latent_dim=8, condition=condition),
        LiteDiscriminator(shape=SHAPE, width=8, condition=condition, **options),
    )


def game_on(data, kind=LatentConditioned, condition=Classes, terms=None, **options):
    made = condition.of_data(data.spec) if condition else None
    settings = {"iterations": 4, "batch_size": 8, "n_dis": 1, "precision": "32", "log_every": 1}
    extra = {} if terms is None else {"terms": terms}
    game = kind(*networks(made, **options), condition=made, **settings, **extra)
    if made is not None:
        made.fill(data)
    game.fill(data)
    return game


def played_on(data, game, stop=None):
    """Play on the blocks that a run would be served."""
    needs = {"batch_size": 8, "batches_per_iteration": game.batches_per_iteration}
    data.plan(seed=game.seed, iterations=game.iterations, start=game.iteration, **needs)
    blocks = list(data.train_dataloader())
    served = [data.on_after_batch_transfer(block, 0)["reals"] for block in blocks]
    first = game.iteration
    return play(game, stop, blocks=Made(game, lambda i: served[i - first], stop))


def after_both_stages(folder, mode, data=None, **settings):
    """Data after representation and conditioner; what lies in the folder is found again."""
    stages = {"representation": representation(), "conditioner": conditioner(mode, **settings)}
    return after_stages(OmegaConf.create(stages), data or FewFaces(), folder).data
