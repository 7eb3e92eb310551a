"""Edges in place of colours, as DeepCluster and PICA see images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Sobel(nn.Module):
    """Images (n, C, H, W) to their grey values' derivatives (n, 2, H, W), across and down."""

    def __init__(self) -> None:
        super().__init__()
        across = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
        self.register_buffer("kernels", torch.stack([across, across.T])[:, None])

    def forward(self, images: Tensor) -> Tensor:
        """Filter the mean of the channels; the border is repeated, so that it is no edge."""
        grey = F.pad(images.mean(1, keepdim=True), 4 * (1,), mode="replicate")
        return F.conv2d(grey, self.kernels.to(grey.dtype))
