"""GAN with R1: the discriminator's gradient vanishes where the reals are.

L. Mescheder, A. Geiger, S. Nowozin. "Which Training Methods for GANs do actually Converge?", ICML
2018, arXiv 1801.04406.
"""

from saddlepoint.gans.gan import GAN
from saddlepoint.losses.adversarial import NonSaturating
from saddlepoint.losses.gradient_penalty import R1


class R1GAN(GAN):
    """Non-saturating loss, with the zero-centred gradient penalty on reals."""

    default_adversarial = NonSaturating
    defining_terms = {"r1": R1}
