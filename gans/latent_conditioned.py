"""Latent-conditioned GAN: conditional on what a representation learned without labels tells.

R. Durall, K. Ho, F.-J. Pfreundt, J. Keuper. "Latent Space Conditioning on Generative Adversarial
Networks", 2021, arXiv 2012.08803.
"""

from saddlepoint.gans.sngan import SNGAN


class LatentConditioned(SNGAN):
    """The game of `CGANPD`, with conditions that come from clusters or features.

    Without a condition (``conditioner=none``) it is the unconditional GAN it is compared with.
    """
