"""The "standard CNN" of SNGAN for 32 and 48 px, and the encoder that Dist-GAN gives it.

T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida. "Spectral Normalization for Generative Adversarial
Networks", ICLR 2018, arXiv 1802.05957; without spectral norm, and with an encoder, N.-T. Tran,
T.-A. Bui, N.-M. Cheung, "Dist-GAN: An Improved GAN using Distance Constraints", ECCV 2018, arXiv
1803.08887. Dist-GAN's images are s(x) in [0, 1]; here tanh(x / 2) = 2 s(x) - 1 in [-1, 1] takes the
place of the sigmoid s, up to the scale of x, which the last layer learns.
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.gans.networks.arguments import check_resolution
from saddlepoint.gans.networks.conditional_batch_norm import ConditionalBatchNorm2d
from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.gans.networks.layers import BatchNorm2d, Pooling, convolution, linear, pool
from saddlepoint.gans.networks.upsampling import UpConvolution, Upsampling
from saddlepoint.schema import NotNegative, Size, checked

RESOLUTIONS = (32, 48)
#: All networks have three layers that halve or double the size.
SCALE = 2**3


class SNCNNGenerator(Generator):
    """Linear to a small map, ReLU, three transposed convolutions with BN and ReLU, conv3x3, tanh.

    Args:
        shape: (c, h, h) of the images, h one of 32, 48.
        condition: what the batch norms depend on; None for nothing.
        latent_dim: d of the latents (n, d).
        width: channels of the first map, halved with every doubling of the size.
        upsampling: "transposed", "nearest", "bilinear" or "zero_insertion".

    Raises:
        UserError: a resolution or kind of upsampling that does not exist.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition | None = None,
        latent_dim: Size = 128,
        width: Size = 1024,
        upsampling: Upsampling = "transposed",
    ) -> None:
        super().__init__()
        self.shape, self.latent_dim = tuple(shape), latent_dim
        bottom = check_resolution("sncnn", shape, RESOLUTIONS) // SCALE
        channels = _halved(width)
        self.bottom_shape = (channels[0], bottom, bottom)
        self.project = linear(latent_dim, channels[0] * bottom**2)
        self.convs = nn.ModuleList(
            UpConvolution(a, b, 3, upsampling=upsampling) for a, b in itertools.pairwise(channels)
        )
        self.norms = nn.ModuleList(ConditionalBatchNorm2d(c, condition) for c in channels[1:])
        self.to_image = convolution(channels[-1], shape[0], 3)

    def forward(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """Draw images (n, c, h, h), float32 in [-1, 1], from latents (n, d) and conditions."""
        hidden = F.relu(self.project(latents)).unflatten(1, self.bottom_shape)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            hidden = F.relu(norm(conv(hidden), condition))
        return torch.tanh(self.to_image(hidden).float())


class SNCNNDiscriminator(Discriminator):
    """Conv3x3 and conv4x4 of stride 2 three times in turn, conv3x3, linear; leaky ReLU throughout.

    The local map is the last one, the features phi of Dist-GAN.

    Args:
        shape: (c, h, h) of the images, h one of 32, 48.
        condition: of the projection; None for none.
        width: channels of the last map, halved with every doubling of the size.
        spectral_norm: whether every layer has it; False in Dist-GAN.
        slope: of the leaky ReLU.
        pooling: "flatten", "sum" or "mean".

    Raises:
        UserError: a resolution or pooling that does not exist.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition | None = None,
        width: Size = 512,
        spectral_norm: bool = True,
        slope: NotNegative = 0.1,
        pooling: Pooling = "flatten",
    ) -> None:
        last_size = check_resolution("sncnn", shape, RESOLUTIONS) // SCALE
        channels = _halved(width)[::-1]
        super().__init__(
            condition=condition,
            local_channels=channels[-1],
            pooled_features=channels[-1] * (last_size**2 if pooling == "flatten" else 1),
            spectral_norm=spectral_norm,
        )
        self.slope, self.pooling = slope, pooling
        convs = [convolution(shape[0], channels[0], 3, spectral_norm=spectral_norm)]
        for a, b in itertools.pairwise(channels):
            convs += [
                convolution(a, a, 4, stride=2, spectral_norm=spectral_norm),
                convolution(a, b, 3, spectral_norm=spectral_norm),
            ]
        self.convs = nn.ModuleList(convs)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Local map (n, c, h / 8, h / 8) and pooled vector (n, d)."""
        for conv in self.convs:
            images = F.leaky_relu(conv(images), self.slope)
        return images, pool(images, self.pooling)


class SNCNNEncoder(nn.Module):
    """Conv3x3, three conv4x4 of stride 2 with BN, linear; leaky ReLU throughout.

    Args:
        shape: (c, h, h) of the images, h one of 32, 48.
        latent_dim: d of the codes (n, d).
        width: channels of the last map, halved with every doubling of the size.
        slope: of the leaky ReLU.

    Raises:
        UserError: a resolution that does not exist.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        latent_dim: Size = 128,
        width: Size = 1024,
        slope: NotNegative = 0.2,
    ) -> None:
        super().__init__()
        last_size = check_resolution("sncnn", shape, RESOLUTIONS) // SCALE
        channels = _halved(width)[::-1]
        self.slope = slope
        self.from_image = convolution(shape[0], channels[0], 3)
        self.convs = nn.ModuleList(
            convolution(a, b, 4, stride=2) for a, b in itertools.pairwise(channels)
        )
        self.norms = nn.ModuleList(BatchNorm2d(c) for c in channels[1:])
        self.to_code = linear(channels[-1] * last_size**2, latent_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Codes (n, d) of images (n, c, h, h)."""
        hidden = F.leaky_relu(self.from_image(images), self.slope)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            hidden = F.leaky_relu(norm(conv(hidden)), self.slope)
        return self.to_code(hidden.flatten(1))


def _halved(width: int) -> tuple[int, ...]:
    """Channels of the smallest map, of the one twice its size, and so on up to the images' size."""
    return tuple(max(width // 2**i, 1) for i in range(4))
