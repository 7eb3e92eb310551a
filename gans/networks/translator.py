"""Down, residual blocks, up: the body of generators that turn images into images."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saddlepoint.gans.networks.upsampling import UpConvolution, Upsampling


class Translator(nn.Module):
    """Conv7, convolutions 4/2/1, residual blocks, up-convolutions, conv7, tanh.

    No convolution has a bias, all pad with zeros, and instance norm with scale and shift follows
    each but the last; it has no running statistics, so that training and sampling are alike.

    Args:
        in_channels: of the maps that it gets.
        out_channels: of the images.
        width: channels after the first convolution; each halving of the size doubles them.
        halvings: of the size.
        dilations: of the first convolution in each residual block.
        upsampling: of all up-convolutions, with conv3x3; "transposed" is 4/2/1.
        last_upsampling: of the last one, with conv5x5; None leaves it as the others.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int,
        halvings: int = 2,
        dilations: Sequence[int] = (1,) * 6,
        upsampling: Upsampling = "transposed",
        last_upsampling: Upsampling | None = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 7, padding=3, bias=False)]
        layers += _norm_relu(width)
        for _ in range(halvings):
            layers += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), *_norm_relu(2 * width)]
            width *= 2
        layers += [ResidualBlock(width, dilation) for dilation in dilations]
        for i in range(halvings):
            kind, kernel = upsampling, 3
            if last_upsampling is not None and i == halvings - 1:
                kind, kernel = last_upsampling, 5
            up = UpConvolution(width, width // 2, kernel, upsampling=kind, bias=False)
            layers += [up, *_norm_relu(width // 2)]
            width //= 2
        layers += [nn.Conv2d(width, out_channels, 7, padding=3, bias=False)]
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """Images (n, out_channels, h, w), float32 in [-1, 1], of maps (n, in_channels, h, w)."""
        return torch.tanh(self.layers(maps).float())


class ResidualBlock(nn.Module):
    """Conv3-IN-ReLU-conv3-IN beside the identity; nothing after their sum."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False),
            *_norm_relu(width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            InstanceNorm(width),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        return maps + self.layers(maps)


class InstanceNorm(nn.InstanceNorm2d):
    """With scale and shift, without running statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)


def _norm_relu(channels: int) -> list[nn.Module]:
    return [InstanceNorm(channels), nn.ReLU()]


def planes(vectors: Tensor, like: Tensor) -> Tensor:
    """Vectors (n, d) as constant planes (n, d, h, w), as large as the images ``like``."""
    return vectors[:, :, None, None].expand(-1, -1, *like.shape[2:]).to(like)
