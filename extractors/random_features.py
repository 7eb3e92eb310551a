"""Features of a network that was never trained: for images that no network at hand knows."""

import math

import torch
from torch import Tensor

from saddlepoint.datamodules.pixels import to_float
from saddlepoint.extractors.extractor import (
    Extracted,
    Extractor,
    as_rgb,
    full_precision,
    hash_of_weights,
)
from saddlepoint.extractors.small_resnet import SmallResNet
from saddlepoint.randomness import keyed_generator

WIDTH = 8  # channels at full resolution; 64 features
RESOLUTION = 32  # sides that the network halves down to 4; larger images keep more places


class RandomFeatures(Extractor):
    """A small ResNet with weights drawn once for all; its last stage, averaged over places.

    Features of random networks tell sets of images apart that ImageNet's say little of (M. F. Naeem
    et al., "Reliable Fidelity and Diversity Metrics", ICML 2020, section 5.1). Weights are uniform
    with He's variance; uniform numbers are the same bits on every machine.
    """

    name = "random-features"

    def load(self, device: torch.device | str = "cpu") -> None:
        """Draw the weights, and move the network to ``device``."""
        if not hasattr(self, "network"):
            network = SmallResNet((3, RESOLUTION, RESOLUTION), 0, 0, WIDTH)
            generator = keyed_generator("random features")
            with torch.no_grad():
                for weight in network.parameters():
                    if weight.ndim == 4:
                        bound = math.sqrt(6 / weight[0].numel())
                        drawn = torch.rand(weight.shape, generator=generator)
                        weight.copy_(drawn.mul_(2 * bound).sub_(bound))
            self.network = network.requires_grad_(False).eval()
            self.weights_hash = hash_of_weights(self.network)
        super().load(device)

    def forward(self, images: Tensor) -> Extracted:
        """Extracted (N, 64) of images (N, 1 or 3, H, W) uint8.

        Raises:
            UserError: another number of channels.
        """
        with full_precision(images.device):
            return Extracted(self.network(to_float(as_rgb(images))).features)
