"""MS-GAN: self-supervision as a multi-class minimax game.

N.-T. Tran, V.-H. Tran, N.-B. Nguyen, L. Yang, N.-M. Cheung. "Self-supervised GAN: Analysis and
Improvement with Multi-class Minimax Game", NeurIPS 2019, arXiv 1911.06997.

Not to be confused with "Mode Seeking GAN" (Mao et al., CVPR 2019), which is abbreviated alike.
"""

from saddlepoint.gans.sngan import SNGAN
from saddlepoint.losses.multi_class import MultiClassMinimax


class MSGAN(SNGAN):
    """SSGAN whose rotation classifier has a class for fakes, against which the generator plays.

    This is the form on SSGAN's backbone. The released code has the other form of the term,
    `losses.multi_class.MultiClassMatch`, on Dist-GAN; it stacks here too, under the same name.
    """

    defining_terms = {"multi_class": MultiClassMinimax}
