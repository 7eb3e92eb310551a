"""Batch norm whose gain and bias depend on the class.

V. Dumoulin, J. Shlens, M. Kudlur. "A Learned Representation for Artistic Style", ICLR 2017, arXiv
1610.07629; in GANs: T. Miyato, M. Koyama, "cGANs with Projection Discriminator", ICLR 2018.
"""

from torch import Tensor, nn


class ConditionalBatchNorm2d(nn.Module):
    """y = gain[class] * (x - mean) / std + bias[class]; plain batch norm if there are no classes.

    Args:
        channels: c of the features (n, c, h, w).
        num_classes: 0 for batch norm with one gain and bias for all.
    """

    def __init__(self, channels: int, num_classes: int = 0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=num_classes == 0)
        self.gain = self.bias = None
        if num_classes:
            self.gain = nn.Embedding(num_classes, channels)
            self.bias = nn.Embedding(num_classes, channels)
            nn.init.normal_(self.gain.weight, mean=1.0, std=0.02)
            nn.init.zeros_(self.bias.weight)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Normalise features (n, c, h, w); labels (n,) are needed if there are classes."""
        normalised = self.norm(features)
        if self.gain is None:
            return normalised
        if labels is None:
            raise ValueError("a class-conditional generator needs labels (n,)")
        gain = self.gain(labels).to(normalised.dtype)[:, :, None, None]
        bias = self.bias(labels).to(normalised.dtype)[:, :, None, None]
        return gain * normalised + bias
