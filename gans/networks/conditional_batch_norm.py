"""Batch norm whose gain and bias depend on the condition.

V. Dumoulin, J. Shlens, M. Kudlur. "A Learned Representation for Artistic Style", ICLR 2017, arXiv
1610.07629; in GANs: T. Miyato, M. Koyama, "cGANs with Projection Discriminator", ICLR 2018.
"""

from torch import Tensor, nn

from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.layers import BatchNorm2d


class ConditionalBatchNorm2d(nn.Module):
    """y = gain(c) * (x - mean) / std + bias(c); plain batch norm where there is no condition.

    Args:
        channels: of the features (n, channels, h, w).
        condition: what gain and bias depend on; None for one gain and bias for all.
    """

    def __init__(self, channels: int, condition: Condition | None = None) -> None:
        super().__init__()
        self.norm = BatchNorm2d(channels, affine=condition is None)
        self.gain = self.bias = None
        if condition is not None:
            self.gain, self.bias = condition.layer(channels), condition.layer(channels)
            condition.start_at(1.0, self.gain, spread=0.02)
            condition.start_at(0.0, self.bias)

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Normalise features (n, c, h, w); conditions (n, ...) are needed if it depends on them."""
        normalised = self.norm(features)
        if self.gain is None or self.bias is None:
            return normalised
        if condition is None:
            raise ValueError("a conditional generator needs conditions (n, ...)")
        gain = self.gain(condition).to(normalised.dtype)[:, :, None, None]
        bias = self.bias(condition).to(normalised.dtype)[:, :, None, None]
        return gain * normalised + bias
