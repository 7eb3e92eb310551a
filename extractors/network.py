"""Any network as extractor."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.extractors.extractor import (
    Extracted,
    Extractor,
    as_rgb,
    full_precision,
    hash_of_weights,
)


class NetworkExtractor(Extractor):
    """A network of one's own, with its weights in it; settings name it by ``_target_``.

    Args:
        network: takes images (N, C, H, W) float and gives features (N, ...), or the pair (features,
            logits).
        name: stands in the name of its scores; has to tell this network from all others.
        size: images are resized to size x size pixels; None keeps theirs.
        interpolation: how, "bicubic" or "bilinear"; always with antialiasing.
        value_range: what black and white become.
        mean: subtracted after that, one number for each channel.
        std: and divided by.
        rgb: whether grey images are given three channels.
        logits: whether the network gives the pair.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        *,
        size: int | None = None,
        interpolation: str = "bicubic",
        value_range: Sequence[float] = (0.0, 1.0),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        rgb: bool = True,
        logits: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise UserError(
                f"The network of {name} is a {type(network).__name__}: give a torch.nn.Module by"
                " its _target_."
            )
        if interpolation not in ("bicubic", "bilinear"):
            raise UserError(f"interpolation={interpolation} is none of bicubic and bilinear.")
        self.network = network
        self.name = name
        self.size, self.interpolation = size, interpolation
        self.value_range = tuple(map(float, value_range))
        self.mean, self.std = mean, std
        self.rgb = rgb
        self.has_logits = logits
        self.resize = self._preparation()

    def load(self, device: torch.device | str = "cpu") -> None:
        """Fix the network, in float32, and move it to ``device``."""
        self.network.float().requires_grad_(False).eval()
        self.weights_hash = hash_of_weights(self.network)
        super().load(device)

    def forward(self, images: Tensor) -> Extracted:
        """Extracted (N, d), and logits if the network gives some, of images (N, C, H, W) uint8.

        Raises:
            UserError: the network gives something else.
        """
        with full_precision(images.device):
            given = self.network(self.prepared(as_rgb(images) if self.rgb else images))
        parts = given if self.has_logits else (given,)
        if not _are_rows(parts, len(images), 1 + self.has_logits):
            wanted = "a pair of features and logits" if self.has_logits else "features (N, ...)"
            raise UserError(
                f"The network of {self.name} has to give {wanted} for N images and gives"
                f" {_described(given)}: correct its forward, or logits=."
            )
        return Extracted(*(part.flatten(1).float() for part in parts))

    def prepared(self, images: Tensor) -> Tensor:
        """What the network sees of images (N, C, H, W) uint8."""
        values = images.float()
        if self.size is not None:
            sides = (self.size, self.size)
            values = F.interpolate(values, sides, mode=self.interpolation, antialias=True)
            values = values.clamp(0, 255)  # a cubic overshoots at edges
        low, high = self.value_range
        values = values / 255 * (high - low) + low
        if self.mean is not None:
            values = values - values.new_tensor(self.mean).view(-1, 1, 1)
        if self.std is not None:
            values = values / values.new_tensor(self.std).view(-1, 1, 1)
        return values

    def _preparation(self) -> str:
        """In words: it moves scores, so protocols have it."""
        side = "none" if self.size is None else f"{self.interpolation} {self.size} x {self.size}"
        parts = [side if self.size is None else f"{side} with antialiasing"]
        parts.append(f"to [{self.value_range[0]:g}, {self.value_range[1]:g}]")
        for word, numbers in (("minus", self.mean), ("over", self.std)):
            if numbers is not None:
                parts.append(f"{word} ({', '.join(f'{number:g}' for number in numbers)})")
        return ", ".join(parts)


def _are_rows(parts: Any, count: int, number: int) -> bool:
    """Whether these are so many tensors with one row for each image."""
    return (
        isinstance(parts, tuple | list)
        and len(parts) == number
        and all(isinstance(part, Tensor) and part.shape[:1] == (count,) for part in parts)
    )


def _described(given: Any) -> str:
    if isinstance(given, Tensor):
        return f"a tensor of shape {tuple(given.shape)}"
    if isinstance(given, tuple | list):
        return f"{len(given)} values"
    return f"a {type(given).__name__}"
