"""The network that tells the drawn faces' attributes, as extractor."""

from typing import Any

import torch
from torch import Tensor

from saddlepoint.datamodules.pixels import to_float
from saddlepoint.errors import UserError
from saddlepoint.extractors.attribute_classifier import load_attribute_classifier
from saddlepoint.extractors.extractor import (
    Extracted,
    Extractor,
    as_rgb,
    full_precision,
    hash_of_weights,
)


class AvatarClassifier(Extractor):
    """A small network that tells the attributes of the embedded drawn faces, 32 x 32 px."""

    name = "avatar-classifier"

    def refuse(self, data: Any) -> None:
        """Refuse all but the drawn faces: it has seen no other images.

        Raises:
            UserError: the data are not drawn faces.
        """
        if getattr(data, "extractor", None) != self.name:
            raise UserError(
                f"The avatar classifier has seen drawn faces alone, and its scores of"
                f" {data.spec.name} would mean nothing: score under own_images, fid10k (Inception),"
                " or classifier10k (after train_extractor.py) instead."
            )

    def load(self, device: torch.device | str = "cpu") -> None:
        """Load the network that comes with the package, and move it to ``device``."""
        if not hasattr(self, "network"):
            self.network = load_attribute_classifier().requires_grad_(False).eval()
            self.weights_hash = hash_of_weights(self.network)
        super().load(device)

    def forward(self, images: Tensor) -> Extracted:
        """Extracted (N, d) of images (N, 3, 32, 32) or (N, 1, 32, 32) uint8.

        Raises:
            UserError: images of another size.
        """
        if images.shape[-2:] != (32, 32):
            raise UserError(
                f"The avatar classifier takes images of 32 x 32 px and got"
                f" {images.shape[-1]} x {images.shape[-2]}: choose another metric."
            )
        with full_precision(images.device):
            return Extracted(self.network(to_float(as_rgb(images))))
