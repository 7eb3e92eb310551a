"""Gradient normalisation: a discriminator that is 1-Lipschitz as a whole.

Y.-L. Wu, H.-H. Shuai, Z.-R. Tam, H.-Y. Chiu. "Gradient Normalization for Generative Adversarial
Networks", ICCV 2021, arXiv 2109.02235.

The paper abbreviates it GN-GAN. Not to be confused with the GN-GAN of N.-T. Tran et al., AAAI 2019,
which embeds neighbours and matches gradients.
"""

from saddlepoint.gans.gan import GAN
from saddlepoint.gans.gradient_normalised_critic import GradientNormalisedCritic
from saddlepoint.losses.adversarial import Hinge


class GradNormGAN(GAN):
    """Both players face D / (|D| + ||grad_x D||), so that its gradients have norm at most 1.

    Spectral norm, which bounds every layer by itself, is left out of the networks. With the hinge
    loss, which |D^| < 1 never lets saturate, L_D = 2 - E D^(x) + E D^(G(z)).
    """

    default_adversarial = Hinge
    critic_class = GradientNormalisedCritic
