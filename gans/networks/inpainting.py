"""A generator that fills a hole in an image with what it is asked for.

Downsampling, dilated residual blocks and upsampling as in K. Nazeri et al., "EdgeConnect", ICCV
Workshops 2019; in two steps, as in J. Yu et al., "Generative Image Inpainting with Contextual
Attention", CVPR 2018, arXiv 1801.07892.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.gans.networks.translator import Translator, planes
from saddlepoint.gans.networks.upsampling import Upsampling
from saddlepoint.schema import Natural, Size, checked


class InpaintingGenerator(Generator):
    """Sees an image outside its hole, the mask of the hole and a target; what it gives is whole.

    Args:
        shape: (c, h, w) of the images, h and w multiples of 2^halvings.
        condition: what the hole shall show.
        width: channels of the first layer.
        halvings: of the size, each of which doubles the channels.
        dilations: of each residual block.
        variant: "single", or "coarse_to_fine": a second network of the same form sees the hole as
            the first has filled it.
        upsampling: of the up-convolutions.
        target_planes: where the target stands beside the image: in the "hole", or in the whole
            "image", where instance norm takes it out of all but the image's border.
        fill: what stands in the hole, in [-1, 1].
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition,
        width: Size = 64,
        halvings: Natural = 2,
        dilations: Sequence[Size] = (1, 2, 4, 8, 2, 1),
        variant: Literal["single", "coarse_to_fine"] = "single",
        upsampling: Upsampling = "nearest",
        target_planes: Literal["hole", "image"] = "hole",
        fill: float = 0.0,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.encode = condition.encoder()
        self.target_planes, self.fill = target_planes, fill
        self.steps = nn.ModuleList(
            Translator(
                shape[0] + 1 + condition.features,
                shape[0],
                width=width,
                halvings=halvings,
                dilations=dilations,
                upsampling=upsampling,
            )
            for _ in range(1 if variant == "single" else 2)
        )

    def painted(self, images: Tensor, target: Tensor, mask: Tensor) -> list[Tensor]:
        """What each step draws, (n, c, h, w), float32 in [-1, 1]: of the hole and around it.

        Args:
            images: (n, c, h, w); their values in the hole are not looked at.
            target: (n, ...).
            mask: (n, 1, h, w), 1 in the hole.
        """
        asked = planes(self.encode(target), images)
        asked = asked * mask if self.target_planes == "hole" else asked
        filled = torch.where(mask > 0.5, self.fill, images)
        drawn = []
        for step in self.steps:
            drawn.append(step(torch.cat([filled, mask, asked], dim=1)))
            filled = composed(drawn[-1], images, mask)
        return drawn

    def forward(self, images: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Images whose hole is filled, and which are bit for bit the same outside of it."""
        return composed(self.painted(images, target, mask)[-1], images, mask)


def composed(drawn: Tensor, images: Tensor, mask: Tensor) -> Tensor:
    """What is drawn in the hole, the images outside of it, whatever is drawn there, NaN too.

    Args:
        drawn: (n, c, h, w).
        images: the same.
        mask: (n, 1, h, w), 1 in the hole.
    """
    return torch.where(mask > 0.5, drawn, images)
