"""SNGAN: spectral normalisation of the discriminator and the hinge loss.

T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida. "Spectral Normalization for Generative Adversarial
Networks", ICLR 2018, arXiv 1802.05957.
"""

from saddlepoint.gans.gan import GAN
from saddlepoint.losses.adversarial import Hinge


class SNGAN(GAN):
    """Hinge loss on a discriminator whose every layer has spectral norm 1 (a network argument)."""

    default_adversarial = Hinge
