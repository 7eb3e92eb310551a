"""The SNGAN family of residual networks for 32, 48, 64 and 128 px.

One generator and one discriminator, parametrised by resolution, carry SNGAN, WGAN-GP, SSGAN,
cGAN-PD, SAGAN and what is built on them, in the form of K. S. Lee and C. Town, "Mimicry", arXiv
2005.02494. With an encoder, and other choices, they are those of Dist-GAN.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.gans.networks.arguments import check_resolution
from saddlepoint.gans.networks.attention import SelfAttention
from saddlepoint.gans.networks.conditional_batch_norm import ConditionalBatchNorm2d
from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.discriminator import Discriminator, LocalMap
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.gans.networks.layers import (
    BatchNorm2d,
    Float32Linear,
    Pooling,
    convolution,
    finish,
    linear,
    pool,
)
from saddlepoint.gans.networks.resnet_blocks import (
    RESIDUAL_GAIN,
    DiscriminatorBlock,
    DiscriminatorFirstBlock,
    EncoderBlock,
    GeneratorBlock,
)
from saddlepoint.gans.networks.upsampling import Upsampling
from saddlepoint.schema import NotNegative, Positive, Size, checked


@dataclass(frozen=True)
class Backbone:
    """Sizes of the two networks for one resolution.

    Attributes:
        bottom: height and width of the generator's first map.
        generator: channels of that map, then of every block's output; each block doubles the size.
        discriminator: channels of every block's output.
        downsampling: how many of the discriminator's blocks, the first ones, halve the size.
    """

    bottom: int
    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    downsampling: int


BACKBONES = {
    32: Backbone(4, (256, 256, 256, 256), (128, 128, 128, 128), downsampling=2),
    48: Backbone(6, (512, 256, 128, 64), (64, 128, 256, 512, 1024), downsampling=4),
    64: Backbone(4, (1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024), downsampling=5),
    128: Backbone(
        4, (1024, 1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024, 1024), downsampling=5
    ),
}


class ResNetGenerator(Generator):
    """Linear to a small map, residual blocks that double it, BN, ReLU, conv3x3, tanh.

    Args:
        shape: (c, h, h) of the images, h one of 32, 48, 64, 128.
        condition: what the batch norms depend on; None for nothing. The last batch norm is
            unconditional.
        latent_dim: d of the latents (n, d).
        width: channels of the widest layer, to which the others are in proportion; None for the
            published ones (256 at 32 px, 512 at 48 px, else 1024).
        upsampling: "bilinear" (Mimicry), "nearest" (the SNGAN paper), "zero_insertion" or
            "transposed".
        last_upsampling: that of the last block; None for the same.
        spectral_norm: whether all convolutions and the linear layer have it (SAGAN).
        attention: number of the block, from 1, after which self-attention sits; None for nowhere.
        residual_gain: of the Xavier-uniform weights of the residual branches; 1 in Dist-GAN.

    Raises:
        UserError: a resolution, kind of upsampling or position of attention that does not exist.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition | None = None,
        latent_dim: Size = 128,
        width: Size | None = None,
        upsampling: Upsampling = "bilinear",
        last_upsampling: Upsampling | None = None,
        spectral_norm: bool = False,
        attention: int | None = None,
        residual_gain: Positive = RESIDUAL_GAIN,
    ) -> None:
        super().__init__()
        self.shape, self.latent_dim = tuple(shape), latent_dim
        last_upsampling = last_upsampling or upsampling
        backbone = BACKBONES[check_resolution("resnet", shape, BACKBONES)]
        channels = _scaled(backbone.generator, width)
        num_blocks = len(channels) - 1
        self.bottom_shape = (channels[0], backbone.bottom, backbone.bottom)
        self.project = linear(
            latent_dim, channels[0] * backbone.bottom**2, spectral_norm=spectral_norm
        )
        self.blocks = nn.ModuleList(
            GeneratorBlock(
                channels[i],
                channels[i + 1],
                upsampling=upsampling if i < num_blocks - 1 else last_upsampling,
                condition=condition,
                spectral_norm=spectral_norm,
                residual_gain=residual_gain,
            )
            for i in range(num_blocks)
        )
        self.attention_after = _checked_attention(attention, num_blocks)
        if attention is not None:
            self.attention = SelfAttention(channels[attention])
        self.norm = ConditionalBatchNorm2d(channels[-1])
        self.to_image = convolution(channels[-1], shape[0], 3, spectral_norm=spectral_norm)

    def forward(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """Draw images (n, c, h, h), float32 in [-1, 1], from latents (n, d) and conditions."""
        hidden = self.project(latents).unflatten(1, self.bottom_shape)
        for number, block in enumerate(self.blocks, start=1):
            hidden = block(hidden, condition)
            if number == self.attention_after:
                hidden = self.attention(hidden)
        return torch.tanh(self.to_image(F.relu(self.norm(hidden))).float())


class ResNetDiscriminator(Discriminator):
    """Residual blocks, ReLU, pooling over positions, linear.

    The pooled vector is what the output layer reads.

    Args:
        shape: (c, h, h) of the images, h one of 32, 48, 64, 128.
        condition: of the projection; None for none.
        width: channels of the widest layer, to which the others are in proportion; None for the
            published ones (128 at 32 px, else 1024).
        spectral_norm: whether every layer has it; False for WGAN-GP.
        pooling: "sum", "mean" (WGAN-GP) or "flatten".
        preact_shortcut: whether shortcuts start from relu(x) ("relu") or from x ("raw"). The SNGAN
            paper's code has "raw". In Mimicry, the source of the published figures, an in-place
            activation makes it "relu"; the local map that heads get to see is then rectified too.
        attention: number of the block, from 1, after which self-attention sits; None for nowhere.
        wide: whether there are as many channels between the convolutions of a block as in its
            output (Dist-GAN, BigGAN), and not as in its input (Mimicry).
        downsampling: "average" pools; "learned" is a pointwise convolution of stride 2 (Dist-GAN).
        local_map: the input of the last block ("before_last"), or its rectified output ("last"),
            the features phi of Dist-GAN.
        flat_heads: whether heads of terms, and the projection, read all of the last map and only
            the output layer its sum, as in the released code of MS-GAN.
        residual_gain: of the Xavier-uniform weights of the residual branches; 1 in Dist-GAN.

    Raises:
        UserError: a resolution, pooling, shortcut or position of attention that does not exist.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition | None = None,
        width: Size | None = None,
        spectral_norm: bool = True,
        pooling: Pooling = "sum",
        preact_shortcut: Literal["relu", "raw"] = "relu",
        attention: int | None = None,
        wide: bool = False,
        downsampling: Literal["average", "learned"] = "average",
        local_map: LocalMap = "before_last",
        flat_heads: bool = False,
        residual_gain: Positive = RESIDUAL_GAIN,
    ) -> None:
        resolution = check_resolution("resnet", shape, BACKBONES)
        backbone = BACKBONES[resolution]
        channels = _scaled(backbone.discriminator, width)
        last_size = resolution // 2**backbone.downsampling
        if flat_heads and pooling != "sum":
            raise UserError(
                "With flat_heads=true the output layer alone sums over positions: set pooling=sum."
            )
        pooling = "flatten" if flat_heads else pooling
        super().__init__(
            condition=condition,
            local_channels=channels[-1 if local_map == "last" else -2],
            pooled_features=channels[-1] * (last_size**2 if pooling == "flatten" else 1),
            spectral_norm=spectral_norm,
        )
        if flat_heads:
            self.head = finish(SummedLinear(channels[-1], 1), spectral_norm=spectral_norm)
        self.pooling = pooling
        self.preact_shortcut = preact_shortcut
        self.local_map = local_map
        first = DiscriminatorFirstBlock(
            *(shape[0], channels[0]),
            spectral_norm=spectral_norm,
            downsampling=downsampling,
            residual_gain=residual_gain,
        )
        blocks = [
            DiscriminatorBlock(
                channels[i - 1],
                channels[i],
                downsample=i < backbone.downsampling,
                preact_shortcut=preact_shortcut,
                spectral_norm=spectral_norm,
                downsampling=downsampling,
                wide=wide,
                residual_gain=residual_gain,
            )
            for i in range(1, len(channels))
        ]
        trunk: list[nn.Module] = [first, *blocks[:-1]]
        attention = _checked_attention(attention, len(trunk))
        if attention is not None:
            trunk.insert(attention, SelfAttention(channels[attention - 1]))
        self.trunk = nn.Sequential(*trunk)
        self.last_block = blocks[-1]

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Local map (n, c, h', w') and pooled vector (n, d)."""
        local = self.trunk(images)
        if self.preact_shortcut == "relu":
            local = F.relu(local)
            last = self.last_block.after_relu(local, local)
        else:
            last = self.last_block(local)
        last = F.relu(last)
        return last if self.local_map == "last" else local, pool(last, self.pooling)


class SummedLinear(Float32Linear):
    """Linear layer on the sum over positions of a flattened map (n, c h w)."""

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (n, c h w) of any precision to float32 (n, out_features)."""
        return super().forward(pooled.float().unflatten(1, (self.in_features, -1)).sum(2))


class ResNetEncoder(nn.Module):
    """Conv3x3, residual blocks that halve the map, BN, leaky ReLU, linear: the generator mirrored.

    The encoder of Dist-GAN, N.-T. Tran, T.-A. Bui, N.-M. Cheung, "Dist-GAN: An Improved GAN using
    Distance Constraints", ECCV 2018, arXiv 1803.08887.

    Args:
        shape: (c, h, h) of the images, h one of 32, 48, 64, 128.
        latent_dim: d of the codes (n, d).
        width: channels of the widest layer, to which the others are in proportion; None for those
            of the generator at the resolution.
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
        width: Size | None = None,
        slope: NotNegative = 0.2,
    ) -> None:
        super().__init__()
        backbone = BACKBONES[check_resolution("resnet", shape, BACKBONES)]
        channels = _scaled(backbone.generator, width)[::-1]
        self.slope = slope
        self.from_image = convolution(shape[0], channels[0], 3)
        self.blocks = nn.Sequential(
            *(EncoderBlock(a, b, slope=slope) for a, b in itertools.pairwise(channels))
        )
        self.norm = BatchNorm2d(channels[-1])
        self.to_code = linear(channels[-1] * backbone.bottom**2, latent_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Codes (n, d) of images (n, c, h, h)."""
        hidden = self.norm(self.blocks(self.from_image(images)))
        return self.to_code(F.leaky_relu(hidden, self.slope).flatten(1))


def _scaled(channels: tuple[int, ...], width: int | None) -> tuple[int, ...]:
    if width is None:
        return channels
    return tuple(max(c * width // max(channels), 1) for c in channels)


def _checked_attention(attention: int | None, num_blocks: int) -> int | None:
    if attention is None or 1 <= attention <= num_blocks:
        return attention
    raise UserError(
        f"The network argument attention={attention} names no block after which attention can sit:"
        f" choose 1 to {num_blocks}, or null for none."
    )
