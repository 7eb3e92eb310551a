"""How far outputs are from what they should be, pixel by pixel."""

from typing import Any, ClassVar

from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.pairs import (
    PairMetric,
    Region,
    as_bytes,
    fields_of,
    mean_over_region,
    name_of,
    weights_of_region,
)
from saddlepoint.items import Items
from saddlepoint.records.record import SMALLER
from saddlepoint.schema import checked


class Distance(PairMetric):
    """The mean absolute difference, L1, in steps of 8 bits, and its mean over pairs.

    Args:
        region: "image", or "inside" or "outside" the mask; the score's name says which.
        reference: field of the inputs that outputs are compared with; "truth" is that of an edit.
    """

    name: ClassVar[str] = "distance"

    @checked
    def __init__(self, region: Region = "image", reference: str = "image") -> None:
        self.region, self.reference = region, reference
        self.value = name_of("L1", region, reference)
        self.directions = {self.value: SMALLER}
        self.needs = fields_of(region, reference)

    def check(self, data: Any, num_fake: int) -> None:
        """Items have to be images."""
        if len(data.spec.shape) != 3:
            raise UserError(f"{self.name} compares images and {data.spec.name} has none: leave it.")

    def values(self, output: Tensor, inputs: Items) -> dict[str, Tensor]:
        """L1 of each pair, 0 to 255."""
        error = as_bytes(output).double() - as_bytes(inputs[self.reference]).double()
        weights = weights_of_region(self.region, error, inputs)
        return {self.value: mean_over_region(error.abs(), weights)}
