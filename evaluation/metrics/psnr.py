"""The peak signal-to-noise ratio of outputs, with the images they were made from as the truth."""

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
from saddlepoint.records.record import LARGER
from saddlepoint.schema import Positive, checked


class PSNR(PairMetric):
    """10 log10(255^2 / mean squared error) in dB of 8-bit images, the mean over pairs.

    Args:
        region: "image", or "inside" or "outside" the mask; the score's name says which.
        reference: field of the inputs that outputs are compared with; "truth" is that of an edit.
        ceiling: what a pair without any error counts as, and no pair more, in dB.
    """

    name: ClassVar[str] = "psnr"

    @checked
    def __init__(
        self, region: Region = "image", reference: str = "image", ceiling: Positive = 100.0
    ) -> None:
        self.region, self.reference, self.ceiling = region, reference, ceiling
        self.value = name_of("PSNR", region, reference)
        self.directions = {self.value: LARGER}
        self.needs = fields_of(region, reference)

    def check(self, data: Any, num_fake: int) -> None:
        """Items have to be images."""
        if len(data.spec.shape) != 3:
            raise UserError(f"{self.name} compares images and {data.spec.name} has none: leave it.")

    def values(self, output: Tensor, inputs: Items) -> dict[str, Tensor]:
        """PSNR of each pair."""
        error = as_bytes(output).double() - as_bytes(inputs[self.reference]).double()
        mean = mean_over_region(error.square(), weights_of_region(self.region, error, inputs))
        ratio = 255**2 / mean.clamp(min=1e-12)  # a NaN stays one
        return {self.value: (10 * ratio.log10()).clamp(max=self.ceiling)}
