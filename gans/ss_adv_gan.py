"""SS-Adv-GAN: adversarial self-supervision, the precursor of MS-GAN.

N.-T. Tran, V.-H. Tran, N.-B. Nguyen, N.-M. Cheung. "An Improved Self-supervised GAN via Adversarial
Training", arXiv 1905.05469, 2019.
"""

from saddlepoint.gans.sngan import SNGAN
from saddlepoint.losses.multi_class import MultiClassMatch


class SSAdvGAN(SNGAN):
    """Rotations of reals and fakes are classes; fakes should be as hard to classify as reals.

    The paper adds this term to Dist-GAN, an autoencoder GAN; here it sits on SSGAN's backbone. A
    Dist-GAN form is the same term on that game and inherits nothing from this class.
    """

    defining_terms = {"multi_class": MultiClassMatch}
