"""SSGAN: SNGAN plus the rotation term.

T. Chen, X. Zhai, M. Ritter, M. Lucic, N. Houlsby. "Self-Supervised GANs via Auxiliary Rotation
Loss", CVPR 2019, arXiv 1811.11212.
"""

from saddlepoint.gans.sngan import SNGAN
from saddlepoint.losses.rotation import Rotation


class SSGAN(SNGAN):
    """SNGAN whose two players also want the rotations of images to be recognised."""

    defining_terms = {"rotation": Rotation}
