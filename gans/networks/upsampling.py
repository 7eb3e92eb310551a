"""Doubling the size of a feature map, and the convolution that comes with it."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.gans.networks.layers import convolution, finish

Upsampling = Literal["bilinear", "nearest", "zero_insertion", "transposed"]


def upsample(features: Tensor, kind: str) -> Tensor:
    """Double the height and width of features (n, c, h, w).

    Args:
        features: the map.
        kind: "bilinear" (corners not aligned), "nearest", or "zero_insertion": values at
            even positions, zeros elsewhere, so that the spectrum repeats.
    """
    if kind == "zero_insertion":
        n, c, h, w = features.shape
        doubled = features.new_zeros(n, c, 2 * h, 2 * w)
        doubled[..., ::2, ::2] = features
        return doubled
    if kind == "nearest":
        return F.interpolate(features, scale_factor=2, mode="nearest")
    return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


class UpConvolution(nn.Module):
    """Upsampling by two, then a convolution; or the transposed convolution that does both.

    Args:
        in_channels: channels c of the input (n, c, h, w).
        out_channels: channels of the output, whose size is (2 h, 2 w).
        kernel_size: of the convolution, odd.
        upsampling: "bilinear", "nearest", "zero_insertion" or "transposed".
        transposed_size: kernel size of the transposed convolution; None for one larger.
        gain: of the Xavier-uniform initial weights.
        spectral_norm: whether the convolution has it.
        bias: whether it has one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        upsampling: Upsampling,
        transposed_size: int | None = None,
        gain: float = 1.0,
        spectral_norm: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.upsampling = upsampling
        # A pointwise convolution commutes with interpolation and costs a quarter before it.
        self.convolve_first = kernel_size == 1 and upsampling in ("bilinear", "nearest")
        self.conv: nn.Conv2d | nn.ConvTranspose2d
        if upsampling == "transposed":
            size = transposed_size or kernel_size + 1
            # An odd kernel reaches one position less far: the last row and column are added.
            fit = (size - 1) // 2, size % 2
            layer = nn.ConvTranspose2d(in_channels, out_channels, size, 2, *fit, bias=bias)
            self.conv = finish(layer, gain=gain, spectral_norm=spectral_norm)
        else:
            self.conv = convolution(
                *(in_channels, out_channels, kernel_size),
                bias=bias,
                gain=gain,
                spectral_norm=spectral_norm,
            )

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, 2 h, 2 w)."""
        if self.upsampling == "transposed":
            return self.conv(features)
        if self.convolve_first:
            return upsample(self.conv(features), self.upsampling)
        if self.upsampling == "nearest":
            return self.from_nearest(features)
        return self.conv(upsample(features, self.upsampling))

    def from_nearest(self, features: Tensor) -> Tensor:
        """The convolution of nearest neighbours, as one transposed convolution.

        Four equal neighbours meet k x k weights: sums of weights at k + 1 x k + 1 positions, a
        quarter of them for each output, 4 instead of 9 products for k = 3. T. Karras, T. Aila,
        S. Laine, J. Lehtinen, "Progressive Growing of GANs", ICLR 2018, fuse them so in their code.
        """
        conv, padding = self.conv, self.conv.kernel_size[0] // 2
        kernel = 4 * F.avg_pool2d(conv.weight, 2, stride=1, padding=1)
        kernel = kernel.flip(2, 3).transpose(0, 1)
        return F.conv_transpose2d(features, kernel, conv.bias, stride=2, padding=padding)
