"""LSGAN: least squares in place of cross-entropy.

X. Mao, Q. Li, H. Xie, R. Y. K. Lau, Z. Wang, S. P. Smolley. "Least Squares Generative Adversarial
Networks", ICCV 2017, arXiv 1611.04076.
"""

from saddlepoint.gans.gan import GAN
from saddlepoint.losses.adversarial import LeastSquares


class LSGAN(GAN):
    """The discriminator regresses reals to 1 and fakes to 0; the generator its fakes to 1."""

    default_adversarial = LeastSquares
