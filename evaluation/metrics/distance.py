"""How far outputs are from what they should be, pixel by pixel."""

from typing import ClassVar

from torch import Tensor

from saddlepoint.evaluation.metrics.pairs import (
    Comparison,
    as_bytes,
    mean_over_region,
    weights_of_region,
)
from saddlepoint.items import Items
from saddlepoint.records.record import SMALLER


class Distance(Comparison):
    """The mean absolute difference, L1, in steps of 8 bits, and its mean over pairs."""

    name: ClassVar[str] = "distance"
    measure = "L1"
    better = SMALLER

    def values(self, output: Tensor, inputs: Items) -> dict[str, Tensor]:
        """L1 of each pair, 0 to 255."""
        error = as_bytes(output).double() - as_bytes(inputs[self.reference]).double()
        weights = weights_of_region(self.region, error, inputs)
        return {self.value: mean_over_region(error.abs(), weights)}
