"""A small pair of plain convolutional networks, for quick runs and machines without accelerator.

The generator upsamples by nearest neighbours; the discriminator is the spectrally normalised
"standard CNN" of SNGAN (Miyato et al., ICLR 2018, arXiv 1802.05957), shortened. Channels
that are multiples of 32 fill the tiles of matrix units, those of CPUs with AMX included.

With ``patch_size=2`` images come and go as patches of 2 x 2 pixels, each the channels of one
position (W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
Sub-Pixel Convolutional Neural Network", CVPR 2016): there are no maps as large as the image, where
a convolution has most to do and fewest channels to do it with.
"""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Literal

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
from saddlepoint.schema import Size, checked

RESOLUTIONS = (16, 32, 64)


class LiteGenerator(Generator):
    """Linear to 4 x 4, then x2, conv3x3, BN, ReLU up to the resolution, conv3x3, tanh.

    Args:
        shape: (c, h, h) of the images, h one of 16, 32, 64.
        condition: what the batch norms depend on; None for nothing.
        latent_dim: d of the latents (n, d).
        width: channels at 4 x 4 and 8 x 8; half of it at 16 x 16, a quarter above.
        upsampling: "nearest", "bilinear", "zero_insertion" or "transposed".
        patch_size: p of the p x p pixels that a position of the last map holds, 1 or 2.
        depth: convolutions at each size but the first; those after the first keep the size.

    Raises:
        UserError: a resolution or kind of upsampling that does not exist.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition | None = None,
        latent_dim: Size = 64,
        width: Size = 128,
        upsampling: Upsampling = "nearest",
        patch_size: Literal[1, 2] = 1,
        depth: Size = 1,
    ) -> None:
        super().__init__()
        self.shape, self.latent_dim = tuple(shape), latent_dim
        channels = _channels(check_resolution("lite", shape, RESOLUTIONS) // patch_size, width)
        self.bottom_shape = (channels[0], 4, 4)
        self.project = linear(latent_dim, channels[0] * 16)
        widths = [channels[0], *(c for c in channels[1:] for _ in range(depth))]
        self.norms = nn.ModuleList(ConditionalBatchNorm2d(c, condition) for c in widths)
        self.convs = nn.ModuleList()
        for before, after in itertools.pairwise(channels):
            self.convs.append(UpConvolution(before, after, 3, upsampling=upsampling))
            self.convs.extend(convolution(after, after, 3) for _ in range(depth - 1))
        self.to_image = convolution(channels[-1], shape[0] * patch_size**2, 3)
        self.of_patches = nn.PixelShuffle(patch_size) if patch_size > 1 else nn.Identity()

    def forward(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """Draw images (n, c, h, h), float32 in [-1, 1], from latents (n, d) and conditions."""
        hidden = self.project(latents).unflatten(1, self.bottom_shape)
        for norm, conv in zip(self.norms, self.convs, strict=False):
            hidden = conv(F.relu(norm(hidden, condition)))
        patches = self.to_image(F.relu(self.norms[-1](hidden, condition)))
        return torch.tanh(self.of_patches(patches).float())


class LiteEncoder(nn.Module):
    """Conv3x3, then convolutions of stride 2 with BN down to 4 x 4, linear; leaky ReLU throughout.

    Args:
        shape: (c, h, h) of the images, h one of 16, 32, 64.
        latent_dim: d of the codes (n, d).
        width: channels at 4 x 4 and 8 x 8; half of it at 16 x 16, a quarter above.

    Raises:
        UserError: a resolution that does not exist.
    """

    @checked
    def __init__(self, *, shape: Sequence[int], latent_dim: Size = 64, width: Size = 128) -> None:
        super().__init__()
        channels = _channels(check_resolution("lite", shape, RESOLUTIONS), width)[::-1]
        self.from_image = convolution(shape[0], channels[0], 3)
        self.convs = nn.ModuleList(
            convolution(channels[i], channels[i + 1], 4, stride=2) for i in range(len(channels) - 1)
        )
        self.norms = nn.ModuleList(BatchNorm2d(c) for c in channels[1:])
        self.to_code = linear(channels[-1] * 16, latent_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Codes (n, d) of images (n, c, h, h)."""
        hidden = F.leaky_relu(self.from_image(images), 0.1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            hidden = F.leaky_relu(norm(conv(hidden)), 0.1)
        return self.to_code(hidden.flatten(1))


class LiteDiscriminator(Discriminator):
    """Conv3x3, then convolutions of stride 2 down to 4 x 4, pooling, linear; leaky ReLU throughout.

    The local map is the 8 x 8 one.

    Args:
        shape: (c, h, h) of the images, h one of 16, 32, 64.
        condition: of the projection; None for none.
        width: channels at 4 x 4 and 8 x 8; half of it at 16 x 16, a quarter above.
        kernel_size: of the convolutions of stride 2, 4 or (a little faster) 3.
        spectral_norm: whether every layer has it.
        pooling: "sum", "mean" or "flatten".
        patch_size: p of the p x p pixels that a position of the first map holds, 1 or 2.
        depth: convolutions at each size but the first; those after the first keep the size.

    Raises:
        UserError: a resolution, kernel size or pooling that does not exist.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition | None = None,
        width: Size = 128,
        kernel_size: Literal[4, 3] = 4,
        spectral_norm: bool = True,
        pooling: Pooling = "flatten",
        patch_size: Literal[1, 2] = 1,
        depth: Size = 1,
    ) -> None:
        resolution = check_resolution("lite", shape, RESOLUTIONS)
        channels = _channels(resolution // patch_size, width)[::-1]
        super().__init__(
            condition=condition,
            local_channels=channels[-2],
            pooled_features=channels[-1] * (16 if pooling == "flatten" else 1),
            spectral_norm=spectral_norm,
        )
        self.pooling = pooling
        conv = partial(convolution, spectral_norm=spectral_norm)
        self.to_patches = nn.PixelUnshuffle(patch_size) if patch_size > 1 else nn.Identity()
        self.from_image = conv(shape[0] * patch_size**2, channels[0], 3)
        self.convs = nn.ModuleList()
        for before, after in itertools.pairwise(channels):
            self.convs.append(conv(before, after, kernel_size, stride=2))
            self.convs.extend(conv(after, after, 3) for _ in range(depth - 1))

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Local map (n, c, 8, 8) and pooled vector (n, d)."""
        local = hidden = F.leaky_relu(self.from_image(self.to_patches(images)), 0.1)
        for conv in self.convs:
            local = hidden if conv.stride == (2, 2) else local
            hidden = F.leaky_relu(conv(hidden), 0.1)
        return local, pool(hidden, self.pooling)


def _channels(resolution: int, width: int) -> tuple[int, ...]:
    """Channels at 4 x 4, 8 x 8, and so on up to the resolution."""
    sizes = (4 * 2**i for i in range((resolution // 4).bit_length()))
    return tuple(max(min(width, 8 * width // size), width // 4, 1) for size in sizes)
