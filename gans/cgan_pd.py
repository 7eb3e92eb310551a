"""cGAN-PD: conditional, with a projection discriminator.

T. Miyato, M. Koyama. "cGANs with Projection Discriminator", ICLR 2018, arXiv 1802.05637.
"""

from typing import Any

from saddlepoint.errors import UserError
from saddlepoint.gans.sngan import SNGAN


class CGANPD(SNGAN):
    """SNGAN with conditional batch norm in the generator, <embed(y), h> in the discriminator.

    The networks do the conditioning. Conditions are classes in the paper; vectors do as well.

    Raises:
        UserError: there is no condition.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        if self.condition is None:
            raise UserError(
                f"{type(self).__name__} needs a condition: set condition=classes, or choose an"
                " unconditional gan such as sngan."
            )
