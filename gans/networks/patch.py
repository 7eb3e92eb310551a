"""A discriminator of patches: a map of logits, each of a part of the image.

P. Isola, J.-Y. Zhu, T. Zhou, A. A. Efros. "Image-to-Image Translation with Conditional Adversarial
Networks", CVPR 2017, arXiv 1611.07004; with a plane of the map for each class, M.-Y. Liu et al.,
"Few-Shot Unsupervised Image-to-Image Translation", ICCV 2019, arXiv 1905.01723.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.discriminator import Discriminator, Head
from saddlepoint.gans.networks.layers import convolution, without_autocast
from saddlepoint.schema import Size, checked


class PatchDiscriminator(Discriminator):
    """Convolutions of stride 2, leaky ReLU, conv3x3 to a map; sees images of any size.

    With a condition the map is that of the class asked for (a plane for each class, of which one is
    read) or, for vectors, the map plus their projection on the features of each position.

    Args:
        shape: (c, h, w) of the images.
        condition: what planes or projections belong to; None for one map.
        width: channels of the first layer; they double up to ``8 * width``.
        depth: convolutions of stride 2.
        spectral_norm: whether every layer has it.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition | None = None,
        width: Size = 64,
        depth: Size = 3,
        spectral_norm: bool = True,
    ) -> None:
        channels = [shape[0], *(min(width * 2**i, 8 * width) for i in range(depth))]
        super().__init__(
            condition=condition,
            local_channels=channels[-1],
            pooled_features=channels[-1],
            spectral_norm=spectral_norm,
        )
        self.convs = nn.ModuleList(
            convolution(a, b, 4, stride=2, spectral_norm=spectral_norm)
            for a, b in zip(channels, channels[1:], strict=False)
        )

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The last map (n, c, h', w'), twice: heads read every position of it."""
        for conv in self.convs:
            images = F.leaky_relu(conv(images), 0.2)
        return images, images.float()

    def logits(
        self, pooled: Tensor, condition: Tensor | None = None, head: Head | None = None
    ) -> Tensor:
        """Maps of logits (n, 1, h', w'), float32, of feature maps (n, c, h', w')."""
        with without_autocast(pooled):
            logits = (self.head if head is None else head)(pooled.float())
            if self.embed is None:
                return logits
            if condition is None:
                raise ValueError("a conditional discriminator needs conditions (n, ...)")
            # <embed(c), h(p)> at every position p: for classes, a plane for each of them.
            return logits + (self.embed(condition)[:, :, None, None] * pooled).sum(1, keepdim=True)

    def new_head(self, out_features: int) -> nn.Conv2d:
        """Output layer for every position, (n, c, h', w') to (n, out_features, h', w')."""
        return self.finished(nn.Conv2d(self.pooled_features, out_features, 1))
