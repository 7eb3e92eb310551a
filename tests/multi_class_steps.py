"""Small games and steps to try multi-class self-supervision on."""

import torch

from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.losses.term import Step
from saddlepoint.randomness import Draws

SHAPE = (3, 16, 16)
SMALL = {"iterations": 2, "batch_size": 8, "n_dis": 2, "precision": "32", "log_every": 1}
N = 8


def a_step(real=None, fake=None, seed=0, player="discriminator", **fields):
    n = len(fake if fake is not None else real)
    draws = Draws(seed, "update", 0, player, 0)
    return Step(0, 1, draws, real=real, fake=fake, latents=torch.zeros(n, 2), **fields)


def networks(**conditional):
    torch.manual_seed(0)
    return (
        LiteGenerator(shape=SHAPE, width=8, latent_dim=8, **conditional),
        LiteDiscriminator(shape=SHAPE, width=8, **conditional),
    )


def game(method, **settings):
    return method(*networks(), **{**SMALL, **settings})
