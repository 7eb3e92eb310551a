"""Small games and steps to try multi-class self-supervision on."""

import torch

from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.items import Items
from saddlepoint.losses.term import Step
from saddlepoint.randomness import Draws

SHAPE = (3, 16, 16)
SMALL = {"iterations": 2, "batch_size": 8, "n_dis": 2, "precision": "32", "log_every": 1}
N = 8


def a_step(real=None, fake=None, seed=0, player="discriminator", conditions=(None, None)):
    """One update on these images, and with these conditions of reals and of fakes."""
    real, fake = (
        Items({k: v for k, v in (("image", image), ("condition", asked)) if v is not None})
        for image, asked in zip((real, fake), conditions, strict=True)
    )
    draws = Draws(seed, "update", 0, player, 0)
    return Step(0, 1, draws, Items(), [real] if real else [], fake)


def networks(**conditional):
    torch.manual_seed(0)
    return (
        LiteGenerator(shape=SHAPE, width=8, latent_dim=8, **conditional),
        LiteDiscriminator(shape=SHAPE, width=8, **conditional),
    )


def game(method, **settings):
    return method(*networks(), **{**SMALL, **settings})
