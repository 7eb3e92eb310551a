"""MS-Dist-GAN: the multi-class game of MS-GAN on Dist-GAN, as its code was released.

N.-T. Tran, V.-H. Tran, N.-B. Nguyen, L. Yang, N.-M. Cheung. "Self-supervised GAN: Analysis and
Improvement with Multi-class Minimax Game", NeurIPS 2019, arXiv 1911.06997; code:
github.com/tntrung/msgan.
"""

from saddlepoint.gans.dist_gan import DistGAN
from saddlepoint.losses.multi_class import MultiClassMatch


class MSDistGAN(DistGAN):
    """Rotations of reals and fakes are classes; fakes should be as hard to classify as reals."""

    defining_terms = {"multi_class": MultiClassMatch}
