"""The SNGAN family of residual networks for 32, 48, 64 and 128 px.

One generator and one discriminator, parametrised by resolution, carry SNGAN, WGAN-GP, SSGAN,
cGAN-PD, SAGAN and what is built on them, in the form of K. S. Lee and C. Town, "Mimicry", arXiv
2005.02494.
"""

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
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.layers import Pooling, convolution, linear, pool
from saddlepoint.gans.networks.resnet_blocks import (
    DiscriminatorBlock,
    DiscriminatorFirstBlock,
    GeneratorBlock,
)
from saddlepoint.gans.networks.upsampling import Upsampling
from saddlepoint.schema import Size, checked


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


class ResNetGenerator(nn.Module):
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

    The local map is the input of the last block, the pooled vector that of the output layer.

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
    ) -> None:
        resolution = check_resolution("resnet", shape, BACKBONES)
        backbone = BACKBONES[resolution]
        channels = _scaled(backbone.discriminator, width)
        last_size = resolution // 2**backbone.downsampling
        super().__init__(
            condition=condition,
            local_channels=channels[-2],
            pooled_features=channels[-1] * (last_size**2 if pooling == "flatten" else 1),
            spectral_norm=spectral_norm,
        )
        self.pooling = pooling
        self.preact_shortcut = preact_shortcut
        first = DiscriminatorFirstBlock(shape[0], channels[0], spectral_norm=spectral_norm)
        blocks = [
            DiscriminatorBlock(
                channels[i - 1],
                channels[i],
                downsample=i < backbone.downsampling,
                preact_shortcut=preact_shortcut,
                spectral_norm=spectral_norm,
            )
            for i in range(1, len(channels))
        ]
        trunk = [first, *blocks[:-1]]
        if _checked_attention(attention, len(trunk)) is not None:
            trunk.insert(attention, SelfAttention(channels[attention - 1]))
        self.trunk = nn.Sequential(*trunk)
        self.last_block = blocks[-1]

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Local map (n, c, h', w') before the last block, and pooled vector (n, d)."""
        local = self.trunk(images)
        if self.preact_shortcut == "relu":
            local = F.relu(local)
        return local, pool(F.relu(self.last_block(local)), self.pooling)


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
