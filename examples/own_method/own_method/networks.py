"""Networks of one's own: a generator that shuffles channels into pixels, and a plain judge."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.layers import convolution, linear


class ShuffleGenerator(nn.Module):
    """4 x 4 features, doubled by pixel shuffles (W. Shi et al., CVPR 2016) up to the image.

    Args:
        shape: (c, h, h) of the images, h a power of two times 4.
        condition: what images are asked for; this generator takes none.
        latent_dim: d of the latents (n, d).
        width: channels of every feature map.
    """

    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition | None = None,
        latent_dim: int = 64,
        width: int = 64,
    ) -> None:
        super().__init__()
        if condition is not None:
            raise ValueError("ShuffleGenerator takes no condition")
        self.shape, self.latent_dim, self.width = tuple(shape), latent_dim, width
        self.project = linear(latent_dim, 16 * width)
        doublings = (shape[1] // 4).bit_length() - 1
        self.convs = nn.ModuleList(convolution(width, 4 * width, 3) for _ in range(doublings))
        self.to_image = convolution(width, shape[0], 3)

    def forward(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """Draw images (n, c, h, h), float32 in [-1, 1], from latents (n, d)."""
        hidden = self.project(latents).unflatten(1, (self.width, 4, 4))
        for conv in self.convs:
            hidden = F.relu(F.pixel_shuffle(conv(hidden), 2))
        return torch.tanh(self.to_image(hidden).float())


class PlainDiscriminator(Discriminator):
    """Convolutions of stride 2 with spectral norm, and the mean over what is left.

    Args:
        shape: (c, h, h) of the images.
        condition: of the projection; None for none.
        width: channels of every feature map.
    """

    def __init__(
        self, *, shape: Sequence[int], condition: Condition | None = None, width: int = 64
    ) -> None:
        super().__init__(
            condition=condition, local_channels=width, pooled_features=width, spectral_norm=True
        )
        channels = [shape[0], width, width, width]
        self.convs = nn.ModuleList(
            convolution(channels[i], channels[i + 1], 4, stride=2, spectral_norm=True)
            for i in range(3)
        )

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Local map (n, width, h / 8, h / 8) and pooled vector (n, width), float32."""
        local = images
        for conv in self.convs:
            local = F.leaky_relu(conv(local), 0.1)
        return local, local.mean((2, 3), dtype=torch.float32)
