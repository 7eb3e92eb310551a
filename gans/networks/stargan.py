"""Generator and discriminator of StarGAN.

Y. Choi, M. Choi, M. Kim, J.-W. Ha, S. Kim, J. Choo. "StarGAN: Unified Generative Adversarial
Networks for Multi-Domain Image-to-Image Translation", CVPR 2018, arXiv 1711.09020.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.discriminator import Discriminator, Head
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.gans.networks.layers import without_autocast
from saddlepoint.gans.networks.translator import Translator, planes
from saddlepoint.gans.networks.upsampling import Upsampling
from saddlepoint.schema import Natural, Size, checked


class StarGANGenerator(Generator):
    """A `Translator` of an image and, as constant planes beside it, what it shall become.

    Args:
        shape: (c, h, w) of the images, h and w multiples of 2^halvings.
        condition: what images are turned into.
        width: channels of the first layer.
        halvings: of the size, each of which doubles the channels.
        blocks: residual blocks.
        upsampling: of the up-convolutions; "transposed" as published.
        last_upsampling: of the last one alone, with a 5 x 5 kernel (K. Chandrasegaran et al., "A
            Closer Look at Fourier Spectrum Discrepancies", CVPR 2021, arXiv 2103.17195).
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition,
        width: Size = 64,
        halvings: Natural = 2,
        blocks: Natural = 6,
        upsampling: Upsampling = "transposed",
        last_upsampling: Upsampling | None = None,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.encode = condition.encoder()
        self.translator = Translator(
            shape[0] + condition.features,
            shape[0],
            width=width,
            halvings=halvings,
            dilations=(1,) * blocks,
            upsampling=upsampling,
            last_upsampling=last_upsampling,
        )

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """Images (n, c, h, w), float32 in [-1, 1], of images and targets (n, ...)."""
        return self.translator(torch.cat([images, planes(self.encode(target), images)], dim=1))


class StarGANDiscriminator(Discriminator):
    """Convolutions 4/2/1 with leaky ReLU to a small map; a map of logits, and what an image shows.

    Args:
        shape: (c, h, h) of the images.
        condition: what `shows` tells apart.
        width: channels of the first layer; each doubles them.
        depth: convolutions of stride 2; None: until the map is 2 x 2 or 3 x 3, which are 6 at the
            published 128 px.
        window: side of the square that it is shown in place of the image; None for all of it.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition,
        width: Size = 64,
        depth: Size | None = None,
        window: Size | None = None,
    ) -> None:
        side = min(shape[1], window or shape[1])
        depth = depth or max(side.bit_length() - 2, 1)
        channels = [shape[0], *(width * 2**i for i in range(depth))]
        super().__init__(
            condition=None,  # it is no projection: a condition is read off, not looked up
            local_channels=channels[-1],
            pooled_features=channels[-1],
            spectral_norm=False,
        )
        self.window = side
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(channels, channels[1:], strict=False)
        )
        self.shown = nn.Conv2d(channels[-1], condition.features, side >> depth, bias=False)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The last map (n, c, h', h'), twice: the heads read all of it."""
        for conv in self.convs:
            images = F.leaky_relu(conv(images), 0.01)
        return images, images.float()

    def logits(
        self, pooled: Tensor, condition: Tensor | None = None, head: Head | None = None
    ) -> Tensor:
        """Maps of logits (n, 1, h', h'), float32, of feature maps."""
        with without_autocast(pooled):
            return (self.head if head is None else head)(pooled.float())

    def shows(self, pooled: Tensor) -> Tensor:
        """Logits (n, features), float32, of what images show: classes, or each attribute."""
        with without_autocast(pooled):
            return self.shown(pooled.float()).flatten(1)

    def new_head(self, out_features: int) -> nn.Conv2d:
        """Output layer for every position, (n, c, h', h') to (n, out_features, h', h')."""
        return nn.Conv2d(self.pooled_features, out_features, 3, padding=1, bias=False)
