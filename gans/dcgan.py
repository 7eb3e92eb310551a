"""DCGAN, the convolutional one and the ResNet of the same name.

A. Radford, L. Metz, S. Chintala. "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", ICLR 2016, arXiv 1511.06434.
"""

from saddlepoint.gans.gan import GAN
from saddlepoint.losses.adversarial import Minimax, NonSaturating


class DCGAN(GAN):
    """Binary cross-entropy on plain convolutional networks with batch norm."""

    default_adversarial = Minimax


class ResNetDCGAN(GAN):
    """What K. S. Lee and C. Town ("Mimicry", arXiv 2005.02494) call DCGAN.

    The ResNet of SNGAN without spectral norm, and the non-saturating loss.
    """

    default_adversarial = NonSaturating
