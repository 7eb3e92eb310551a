"""cGAN-PD: class-conditional, with a projection discriminator.

T. Miyato, M. Koyama. "cGANs with Projection Discriminator", ICLR 2018, arXiv 1802.05637.
"""

from typing import Any

from saddlepoint.errors import UserError
from saddlepoint.gans.sngan import SNGAN


class CGANPD(SNGAN):
    """SNGAN with conditional batch norm in the generator, <embed(y), h> in the discriminator.

    The networks do the conditioning; labels of fakes are uniform over the classes.

    Raises:
        UserError: the networks were built for no classes.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        if not self.num_classes:
            raise UserError(
                f"{type(self).__name__} needs classes and this data has none: choose a datamodule"
                " with class labels, or an unconditional gan such as sngan."
            )
