"""Halving the size of a feature map, together with the convolution before it."""

import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.gans.networks.layers import convolution


class Unhalved(nn.Identity):
    """What takes the place of a halving where the size is kept."""

    def after(self, conv: nn.Conv2d, features: Tensor) -> Tensor:
        """The convolution alone, (n, c, h, w) to (n, c', h, w)."""
        return conv(features)


class AveragePool(nn.AvgPool2d):
    """The mean of 2 x 2 positions."""

    def __init__(self) -> None:
        super().__init__(2)

    def after(self, conv: nn.Conv2d, features: Tensor) -> Tensor:
        """The pool of a convolution of odd size k, (n, c, h, w) to (n, c', h / 2, w / 2).

        Both are linear, and pooling the kernel instead of the map leaves one convolution of stride
        2 and size k + 1: 4/9 of the products of a 3 x 3 one. T. Karras, T. Aila, S. Laine,
        J. Lehtinen, "Progressive Growing of GANs", ICLR 2018, fuse them so in their code.
        """
        kernel = F.avg_pool2d(conv.weight, 2, stride=1, padding=1)
        return F.conv2d(features, kernel, conv.bias, stride=2, padding=conv.padding)


class LearnedHalving(nn.Sequential):
    """A pointwise convolution of stride 2.

    Args:
        channels: of the map.
        spectral_norm: whether the convolution has it.
    """

    def __init__(self, channels: int, *, spectral_norm: bool) -> None:
        pointwise = convolution(channels, channels, 1, spectral_norm=spectral_norm)
        super().__init__(EverySecond(), pointwise)

    def after(self, conv: nn.Conv2d, features: Tensor) -> Tensor:
        """The halving of a convolution, computed at every second position only."""
        if conv.kernel_size == (1, 1):  # not with stride 2, see `EverySecond`
            return self[1](conv(self[0](features)))
        hidden = F.conv2d(features, conv.weight, conv.bias, stride=2, padding=conv.padding)
        return self[1](hidden)


class EverySecond(nn.Module):
    """Every second row and column, so that a pointwise convolution with stride 2 is one without.

    The backward pass of the former writes beyond its memory on CPUs, for fewer than 8 channels in
    the order of channels_last (torch 2.14).
    """

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c, h / 2, w / 2)."""
        return features[..., ::2, ::2]


def halving(
    channels: int, downsampling: str, *, spectral_norm: bool
) -> AveragePool | LearnedHalving:
    """Layer that halves the size of a map (n, channels, h, w).

    Args:
        channels: of the map.
        downsampling: "average" pools; "learned" is a pointwise convolution of stride 2.
        spectral_norm: whether that convolution has it.
    """
    if downsampling == "average":
        return AveragePool()
    return LearnedHalving(channels, spectral_norm=spectral_norm)
