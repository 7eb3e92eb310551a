"""Layers as the backbones use them: Xavier-uniform weights, optional spectral norm."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.gans.networks.spectral_norm import Layer, add_spectral_norm

#: How a feature map becomes a vector, see `pool`.
Pooling = Literal["sum", "mean", "flatten"]


def finish(
    layer: Layer,
    *,
    spectral_norm: bool = False,
    initialise: Callable[..., Tensor] = nn.init.xavier_uniform_,
    **options: float,
) -> Layer:
    """Initialise a layer's weight, then add spectral norm if wanted; the bias keeps its default."""
    initialise(layer.get_parameter("weight"), **options)
    return add_spectral_norm(layer) if spectral_norm else layer


def convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = True,
    gain: float = 1.0,
    spectral_norm: bool = False,
) -> nn.Conv2d:
    """Convolution that keeps the size (odd kernel), or halves it (stride 2)."""
    padding = dilation * (kernel_size - 1) // 2
    layer = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding, dilation=dilation, bias=bias
    )
    return finish(layer, gain=gain, spectral_norm=spectral_norm)


def linear(in_features: int, out_features: int, *, spectral_norm: bool = False) -> nn.Linear:
    """Linear layer."""
    return finish(nn.Linear(in_features, out_features), spectral_norm=spectral_norm)


def without_autocast(tensor: Tensor) -> AbstractContextManager:
    """Context in which operations on ``tensor``'s device keep the precision of their inputs."""
    kind = tensor.device.type
    # Entering a context takes as long as an operation: one that would change nothing is left out.
    is_cast = torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_cast else nullcontext()


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm that does not count its batches, a number that nothing reads.

    Counting is one more operation in every pass. The counter stays in the state, at 0.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features (n, c, h, w)."""
        self._check_input_dim(features)
        affine, momentum = (self.weight, self.bias), self.momentum or 0.0
        follows = self.track_running_stats or not self.training
        averages = (self.running_mean, self.running_var) if follows else (None, None)
        by_batch = self.training or averages[0] is None  # without averages, in eval mode as well
        return F.batch_norm(features, *averages, *affine, by_batch, momentum, self.eps)


class Float32Linear(nn.Linear):
    """Linear layer on pooled features (n, d) that stays in float32 under autocast."""

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (n, d) of any precision to float32 (n, out_features)."""
        with without_autocast(pooled):
            return F.linear(pooled.float(), self.weight, self.bias)


def pool(features: Tensor, kind: Pooling) -> Tensor:
    """Make one float32 vector of a feature map (n, c, h, w).

    Args:
        features: of any precision.
        kind: "sum" or "mean" over the positions to (n, c), or "flatten" to (n, c h w).
    """
    if kind == "flatten":
        return features.float().flatten(1)
    total = features.sum((2, 3), dtype=torch.float32)
    return total if kind == "sum" else total / (features.shape[2] * features.shape[3])
