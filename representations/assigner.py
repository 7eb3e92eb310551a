"""Whether an image is what it was asked to be: encoded, processed, and given to a cluster."""

import torch
from torch import Tensor, nn

from saddlepoint.extractors.extractor import Extractor, hash_of_weights
from saddlepoint.fingerprint import fingerprint
from saddlepoint.representations.processing import Processing


class Assigner(nn.Module):
    """F(E(x)) and the nearest of the centres; nothing in it is ever trained.

    Args:
        encoder: E, gives features.
        processing: F, fitted to the training images.
        centres: (K, d).
    """

    def __init__(self, encoder: Extractor, processing: Processing, centres: Tensor) -> None:
        super().__init__()
        self.encoder, self.processing = encoder, processing
        self.register_buffer("centres", centres)
        self.requires_grad_(False).eval()

    def load(self, device: torch.device | str) -> None:
        """Load what the encoder needs, and move everything to a device."""
        self.encoder.load(device)
        self.to(device).requires_grad_(False).eval()

    def vectors(self, images: Tensor) -> Tensor:
        """Vectors (n, d) of images (n, C, H, W), uint8 or float in [-1, 1].

        Floats are not rounded, so that gradients pass to them.
        """
        if images.is_floating_point():
            images = (images.clamp(-1, 1) + 1) * 127.5
        return self.processing(self.encoder(images).features)

    def distances(self, vectors: Tensor) -> Tensor:
        """Squared distances (n, K) from the centres."""
        return torch.cdist(vectors[None], self.centres[None])[0].square()

    def assign(self, vectors: Tensor) -> Tensor:
        """The nearest centres (n,)."""
        return self.distances(vectors).argmin(1)

    def soft(self, vectors: Tensor, temperature: float) -> Tensor:
        """Softmax (n, K) over the centres of -distance^2 / temperature."""
        return (-self.distances(vectors) / temperature).softmax(1)

    @property
    def fingerprint(self) -> str:
        """Of everything that moves an assignment; the encoder is loaded."""
        own = {name: value for name, value in self.state_dict().items() if "encoder" not in name}
        rest = nn.Module()
        for name, value in own.items():
            rest.register_buffer(name.replace(".", "_"), value)
        return fingerprint(
            {
                "encoder": self.encoder.weights_hash,
                "name": self.encoder.name,
                "rest": hash_of_weights(rest),
            }
        )
