"""DAG-GAN: SNGAN plus the DAG term.

N.-T. Tran, V.-H. Tran, N.-B. Nguyen, T.-K. Nguyen, N.-M. Cheung. "On Data Augmentation for GAN
Training", IEEE Transactions on Image Processing, 2021, arXiv 2006.05338.
"""

from saddlepoint.gans.sngan import SNGAN
from saddlepoint.losses.dag import DAG


class DAGGAN(SNGAN):
    """SNGAN that is played on transformed images as well, by further heads."""

    defining_terms = {"dag": DAG}
