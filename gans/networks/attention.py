"""Self-attention over the positions of a feature map.

H. Zhang, I. Goodfellow, D. Metaxas, A. Odena. "Self-Attention Generative Adversarial Networks",
ICML 2019, arXiv 1805.08318.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.gans.networks.layers import finish


class SelfAttention(nn.Module):
    """x + gamma * o(attention(theta(x), phi(x), g(x))), exactly x while gamma is its initial 0.

    theta, phi and g are pointwise convolutions to c/8, c/8 and c/2 channels, o is one back to c;
    all have spectral norm and no bias. phi and g (keys and values) are max-pooled by two.

    Args:
        channels: c of the features (n, c, h, w); h and w are at least 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.keys, self.values = max(channels // 8, 1), max(channels // 2, 1)
        self.theta = self._pointwise(channels, self.keys)
        self.phi = self._pointwise(channels, self.keys)
        self.g = self._pointwise(channels, self.values)
        self.o = self._pointwise(self.values, channels)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        queries = self.theta(features).flatten(2)
        keys = F.max_pool2d(self.phi(features), 2).flatten(2)
        values = F.max_pool2d(self.g(features), 2).flatten(2)
        # Written out: the fused attention kernels have no second derivative, penalties need it.
        weights = torch.softmax(queries.transpose(1, 2) @ keys, dim=-1)
        attended = values @ weights.transpose(1, 2)
        return features + self.gamma * self.o(attended.unflatten(2, features.shape[2:]))

    @staticmethod
    def _pointwise(in_channels: int, out_channels: int) -> nn.Conv2d:
        return finish(nn.Conv2d(in_channels, out_channels, 1, bias=False), spectral_norm=True)
