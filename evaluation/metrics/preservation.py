"""Whether a generator leaves alone what it was not asked to change."""

from typing import ClassVar

import torch
from torch import Tensor

from saddlepoint.evaluation.metrics.pairs import PairMetric, as_bytes
from saddlepoint.items import Items
from saddlepoint.records.record import SMALLER


class Preservation(PairMetric):
    """The largest change of a pixel outside the mask, over all pairs, in steps of 8 bits.

    0 is exact: no stored image differs from its input there. Outputs and inputs are both rounded to
    8 bits first. A pair whose mask covers everything counts for nothing.
    """

    name: ClassVar[str] = "preservation"
    directions: ClassVar[dict[str, str]] = {"preservation": SMALLER}
    needs = ("image", "mask")

    def values(self, output: Tensor, inputs: Items) -> dict[str, Tensor]:
        """The largest change of each pair outside its mask, 0 to 255."""
        change = (as_bytes(output).short() - as_bytes(inputs.image).short()).abs().double()
        outside = (inputs.mask < 0.5).expand_as(change)
        largest = change.where(outside, -1).flatten(1).amax(1)
        return {"preservation": largest.where(largest >= 0, torch.nan)}

    def over_pairs(self, value: Tensor) -> Tensor:
        """The largest."""
        return value.max()
