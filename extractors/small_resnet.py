"""A small residual network that tells classes and attributes of small images."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn


class Outputs(NamedTuple):
    """What a classifier sees in N images.

    Attributes:
        features: (N, d) float.
        classes: logits (N, K); None without classes.
        attributes: logits (N, A); None without attributes.
    """

    features: Tensor
    classes: Tensor | None
    attributes: Tensor | None


class SmallResNet(nn.Module):
    """Residual stages, each at half the resolution of the one before, down to about 4 x 4.

    After K. He et al., "Deep Residual Learning", CVPR 2016, with one block a stage: small enough to
    be trained on a CPU in minutes.

    Args:
        shape: (C, H, W) of an image; 8 pixels at least.
        num_classes: classes, told by softmax; 0 for none.
        num_attributes: binary attributes, told by sigmoids; 0 for none.
        width: channels at full resolution; the features have 8 times as many.
    """

    def __init__(
        self, shape: Sequence[int], num_classes: int, num_attributes: int = 0, width: int = 16
    ) -> None:
        super().__init__()
        stages = max(1, round(math.log2(min(shape[1:]) / 4)))
        widths = [width * 2 ** min(k, 3) for k in range(stages)] + [8 * width]
        layers: list[nn.Module] = [*_convolution(shape[0], width, stride=1)]
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [*_convolution(before, after, stride=2), _Block(after)]
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classes = nn.Linear(8 * width, num_classes) if num_classes else None
        self.attributes = nn.Linear(8 * width, num_attributes) if num_attributes else None

    def forward(self, images: Tensor) -> Outputs:
        """Non-negative features (N, 8 width) and logits of images (N, C, H, W) in [-1, 1]."""
        features = self.trunk(images)
        return Outputs(
            features,
            None if self.classes is None else self.classes(features),
            None if self.attributes is None else self.attributes(features),
        )


class StackedChannels(nn.Module):
    """One network that looks at each channel by itself, for images such as stacked MNIST.

    With k classes of a channel an image of C channels has k ** C: the number that the channels'
    classes make, the first channel's being its first digit.

    Args:
        network: takes grey images and tells their classes.
    """

    def __init__(self, network: SmallResNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Outputs:
        """Extracted (N, C d), one channel's after the other's, and logits (N, k ** C).

        A logit is the sum of the channels' logarithmic probabilities: channels are independent.
        """
        count, channels = images.shape[:2]
        seen = self.network(images.flatten(0, 1).unsqueeze(1))
        each = seen.classes.log_softmax(dim=1).unflatten(0, (count, channels))
        joint = each[:, 0]
        for channel in range(1, channels):
            joint = (joint[:, :, None] + each[:, channel, None, :]).flatten(1)
        return Outputs(seen.features.unflatten(0, (count, channels)).flatten(1), joint, None)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(*_convolution(width, width, stride=1))
        self.second = nn.Sequential(*_convolution(width, width, stride=1)[:-1])

    def forward(self, hidden: Tensor) -> Tensor:
        return F.relu(hidden + self.second(self.first(hidden)))


def _convolution(before: int, after: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU()]
