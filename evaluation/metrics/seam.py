"""Whether one sees where a hole was filled."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from saddlepoint.evaluation.metrics.pairs import PairMetric, as_bytes
from saddlepoint.items import Items
from saddlepoint.records.record import SMALLER

RATIO, ERROR = "seam ratio", "seam error"


class Seam(PairMetric):
    """Steps across the border of the mask, as a multiple of those in the image before.

    A step is the absolute difference of neighbouring pixels of which one lies inside the mask and
    the other outside; the ratio is that of their sums over all pairs. At 1 the seam is as the image
    was; "seam error" is the distance from 1, of which less is better.
    """

    name: ClassVar[str] = "seam"
    directions: ClassVar[dict[str, str | None]] = {ERROR: SMALLER, RATIO: None}
    needs = ("image", "mask")

    def values(self, output: Tensor, inputs: Items) -> dict[str, Tensor]:
        """Sums (n, 2) of the steps of each output, and of its input."""
        inside = inputs.mask >= 0.5
        both = [as_bytes(images).double() for images in (output, inputs.image)]
        steps = torch.stack([_across(images, inside) for images in both], dim=1)
        return {RATIO: steps.where(_has_border(inside)[:, None], torch.nan)}

    def over_pairs(self, value: Tensor) -> Tensor:
        """The ratio of the sums."""
        return value[:, 0].sum() / value[:, 1].sum().clamp(min=1e-12)

    def summary(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """The ratio, and its distance from 1."""
        found = super().summary(values)
        return {ERROR: abs(found[RATIO] - 1), **found} if found else {}


def _across(images: Tensor, inside: Tensor) -> Tensor:
    """Sum (n,) of the steps across the border, in rows and in columns."""
    total = torch.zeros(len(images), dtype=images.dtype, device=images.device)
    for axis in (2, 3):
        crosses = inside.diff(dim=axis)
        total += (images.diff(dim=axis).abs() * crosses).flatten(1).sum(1)
    return total


def _has_border(inside: Tensor) -> Tensor:
    return inside.flatten(1).any(1) & ~inside.flatten(1).all(1)
