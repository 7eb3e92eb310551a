"""WGAN-GP: a critic whose input gradients have norm 1.

I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin, A. Courville. "Improved Training of Wasserstein
GANs", NeurIPS 2017, arXiv 1704.00028.
"""

from saddlepoint.gans.gan import GAN
from saddlepoint.losses.adversarial import Wasserstein
from saddlepoint.losses.gradient_penalty import WassersteinGradientPenalty


class WGANGP(GAN):
    """Wasserstein loss, with the gradient penalty on lines between reals and fakes."""

    default_adversarial = Wasserstein
    defining_terms = {"gradient_penalty": WassersteinGradientPenalty}
