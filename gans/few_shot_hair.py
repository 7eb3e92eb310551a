"""Semi few-shot translation of hair colours, the amortised way: FUNIT on classes of colours.

R. Durall, F.-J. Pfreundt, J. Keuper. "Semi Few-Shot Attribute Translation", arXiv 1910.03240, 2019.
No code was released; `gans.few_shot_hair_reptile` is the other way.
"""

from typing import Any

from torch import Tensor

from saddlepoint.gans.funit import FUNIT
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.few_shot import FewShotTranslator
from saddlepoint.losses.few_shot import masked_change
from saddlepoint.losses.term import Step
from saddlepoint.schema import NotNegative, checked


class FewShotHair(FUNIT):
    """FUNIT whose classes are hair colours (and more), and that may be told where the hair is.

    Args:
        generator: as of `FUNIT`, and so the discriminator.
        discriminator: see there.
        background_weight: of mean |x_t - x_a| outside the hair; needs items with that mask.
        region: the field of that mask, 1 where the hair is.
        settings: of `FUNIT`.
    """

    @checked
    def __init__(
        self,
        generator: FewShotTranslator,
        discriminator: Discriminator,
        *,
        background_weight: NotNegative = 0.0,
        region: str = "hair",
        **settings: Any,
    ) -> None:
        super().__init__(generator, discriminator, **settings)
        self.background_weight, self.region = background_weight, region
        if background_weight:
            self.task.reads = (*self.task.reads, region)

    def generator_loss(self, step: Step) -> dict[str, Tensor]:
        """FUNIT's, and the change outside the hair."""
        losses = super().generator_loss(step)
        if self.background_weight:
            outside = 1 - step.inputs[self.region]
            change = masked_change(step.fake.image, step.inputs.image, outside)
            losses["background"] = self.background_weight * change
        return losses
