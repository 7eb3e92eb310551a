"""Points themselves as features."""

from torch import Tensor

from saddlepoint.extractors.extractor import Extracted, Extractor


class RawValues(Extractor):
    """Coordinates themselves: for points (N, 2), which need no network."""

    name = "raw"
    quantisation = "none"

    def score_name(self, name: str) -> str:
        """FD/raw for the distance; what counts modes needs no extractor's name."""
        return super().score_name(name) if "FID" in name or "KID" in name else name

    def quantise(self, images: Tensor) -> Tensor:
        """Coordinates are not quantised."""
        return images

    def forward(self, images: Tensor) -> Extracted:
        """Coordinates (N, d) of points (N, ...)."""
        return Extracted(images.flatten(1).float())
