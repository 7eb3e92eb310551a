"""Residual blocks of the SNGAN family.

T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida. "Spectral Normalization for Generative Adversarial
Networks", ICLR 2018, arXiv 1802.05957, Appendix B.4, in the form of K. S. Lee and C. Town,
"Mimicry", arXiv 2005.02494.
"""

import math
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.gans.networks.conditional_batch_norm import ConditionalBatchNorm2d
from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.downsampling import AveragePool, LearnedHalving, Unhalved, halving
from saddlepoint.gans.networks.layers import BatchNorm2d, convolution
from saddlepoint.gans.networks.upsampling import UpConvolution, Upsampling

#: Gain of the Xavier-uniform weights of a residual branch; shortcuts have 1.
RESIDUAL_GAIN = math.sqrt(2)


class GeneratorBlock(nn.Module):
    """BN, ReLU, x2, conv3x3, BN, ReLU, conv3x3; the shortcut is x2, conv1x1.

    Args:
        in_channels: c of the input (n, c, h, w).
        out_channels: channels of the output (n, c', 2 h, 2 w), and between the convolutions.
        upsampling: "bilinear", "nearest", "zero_insertion" or "transposed".
        condition: what the batch norms depend on; None for nothing.
        spectral_norm: whether the convolutions have it.
        residual_gain: of the initial weights of the residual branch.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        upsampling: Upsampling,
        condition: Condition | None = None,
        spectral_norm: bool = False,
        residual_gain: float = RESIDUAL_GAIN,
    ) -> None:
        super().__init__()
        up = partial(
            UpConvolution,
            in_channels,
            out_channels,
            upsampling=upsampling,
            spectral_norm=spectral_norm,
        )
        self.norm1 = ConditionalBatchNorm2d(in_channels, condition)
        self.conv1 = up(3, gain=residual_gain)
        self.norm2 = ConditionalBatchNorm2d(out_channels, condition)
        self.conv2 = convolution(
            out_channels, out_channels, 3, gain=residual_gain, spectral_norm=spectral_norm
        )
        self.shortcut = up(1)

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map (n, c, h, w) to (n, c', 2 h, 2 w)."""
        hidden = self.conv1(F.relu(self.norm1(features, condition)))
        hidden = self.conv2(F.relu(self.norm2(hidden, condition)))
        return hidden + self.shortcut(features)


class DiscriminatorFirstBlock(nn.Module):
    """Conv3x3, ReLU, conv3x3, halving; the shortcut is halving, conv1x1.

    Args:
        in_channels: channels of the images (n, c, h, w).
        out_channels: channels of the output (n, c', h / 2, w / 2), and between the convolutions.
        spectral_norm: whether the convolutions have it.
        downsampling: "average" or "learned", see `halving`.
        residual_gain: of the initial weights of the residual branch.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        spectral_norm: bool,
        downsampling: str = "average",
        residual_gain: float = RESIDUAL_GAIN,
    ) -> None:
        super().__init__()
        conv3 = partial(convolution, kernel_size=3, gain=residual_gain, spectral_norm=spectral_norm)
        self.conv1 = conv3(in_channels, out_channels)
        self.conv2 = conv3(out_channels, out_channels)
        self.shortcut = convolution(in_channels, out_channels, 1, spectral_norm=spectral_norm)
        self.halve = halving(out_channels, downsampling, spectral_norm=spectral_norm)
        self.halve_images = halving(in_channels, downsampling, spectral_norm=spectral_norm)

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c', h / 2, w / 2)."""
        hidden = self.halve.after(self.conv2, F.relu(self.conv1(images)))
        return hidden + self.shortcut(self.halve_images(images))


class DiscriminatorBlock(nn.Module):
    """ReLU, conv3x3, ReLU, conv3x3 and, if downsampling, halving; plus the shortcut.

    The shortcut is the identity, or conv1x1 and halving where the shape changes. It starts
    from the input x ("raw", as in the paper) or from relu(x) ("relu", as in Mimicry, whose in-place
    activation overwrites x before the shortcut reads it).

    Args:
        in_channels: c of the input (n, c, h, w).
        out_channels: channels of the output.
        downsample: whether the output is (n, c', h / 2, w / 2).
        preact_shortcut: "relu" or "raw".
        spectral_norm: whether the convolutions have it.
        downsampling: "average" or "learned", see `halving`.
        wide: whether there are as many channels between the convolutions as in the output, and not
            as in the input.
        residual_gain: of the initial weights of the residual branch.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        downsample: bool,
        preact_shortcut: str,
        spectral_norm: bool,
        downsampling: str = "average",
        wide: bool = False,
        residual_gain: float = RESIDUAL_GAIN,
    ) -> None:
        super().__init__()
        conv3 = partial(convolution, kernel_size=3, gain=residual_gain, spectral_norm=spectral_norm)
        between = out_channels if wide else in_channels
        self.preact_shortcut = preact_shortcut
        self.conv1, self.conv2 = conv3(in_channels, between), conv3(between, out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if downsample or in_channels != out_channels:
            self.shortcut = convolution(in_channels, out_channels, 1, spectral_norm=spectral_norm)
        self.halve: Unhalved | AveragePool | LearnedHalving = Unhalved()
        self.halve_before: nn.Module = self.halve
        self.halve_after: nn.Module = self.halve
        if downsample:
            self.halve = halving(out_channels, downsampling, spectral_norm=spectral_norm)
            # The pool commutes with the shortcut's convolution, which costs a quarter after it.
            if downsampling == "average":
                self.halve_before = self.halve
            else:
                self.halve_after = halving(out_channels, downsampling, spectral_norm=spectral_norm)

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c', h, w), or half that size."""
        return self.after_relu(F.relu(features), features)

    def after_relu(self, activated: Tensor, features: Tensor) -> Tensor:
        """The same from features that are rectified already."""
        hidden = self.halve.after(self.conv2, F.relu(self.conv1(activated)))
        skipped = activated if self.preact_shortcut == "relu" else features
        return hidden + self.halve_after(self.shortcut(self.halve_before(skipped)))


class EncoderBlock(nn.Module):
    """BN, leaky ReLU, conv3x3, BN, leaky ReLU, conv3x3, average pool; plus conv1x1 and the pool.

    The block of the encoder of Dist-GAN, N.-T. Tran et al., ECCV 2018, arXiv 1803.08887.

    Args:
        in_channels: c of the input (n, c, h, w).
        out_channels: channels of the output (n, c', h / 2, w / 2), and between the convolutions.
        slope: of the leaky ReLU.
    """

    def __init__(self, in_channels: int, out_channels: int, *, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.norm1, self.norm2 = BatchNorm2d(in_channels), BatchNorm2d(out_channels)
        self.conv1 = convolution(in_channels, out_channels, 3)
        self.conv2 = convolution(out_channels, out_channels, 3)
        self.shortcut = convolution(in_channels, out_channels, 1)
        self.halve = AveragePool()

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c', h / 2, w / 2)."""
        hidden = self.conv1(F.leaky_relu(self.norm1(features), self.slope))
        hidden = self.halve.after(self.conv2, F.leaky_relu(self.norm2(hidden), self.slope))
        return hidden + self.shortcut(self.halve(features))
