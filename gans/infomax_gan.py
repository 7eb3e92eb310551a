"""InfoMax-GAN: SNGAN plus the InfoMax term.

K. S. Lee, N.-T. Tran, N.-M. Cheung. "InfoMax-GAN: Improved Adversarial Image Generation via
Information Maximization and Contrastive Learning", WACV 2021, arXiv 2007.04589.
"""

from saddlepoint.gans.sngan import SNGAN
from saddlepoint.losses.infomax import InfoMax


class InfoMaxGAN(SNGAN):
    """SNGAN whose two players also want an image's local features to be told from others'."""

    defining_terms = {"infomax": InfoMax}
