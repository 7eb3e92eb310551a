"""SAGAN: self-attention in both networks.

H. Zhang, I. Goodfellow, D. Metaxas, A. Odena. "Self-Attention Generative Adversarial Networks",
ICML 2019, arXiv 1805.08318.
"""

from saddlepoint.gans.cgan_pd import CGANPD


class SAGAN(CGANPD):
    """cGAN-PD with one attention layer and spectral norm in each network (network arguments)."""
