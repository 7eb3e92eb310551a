"""The peak signal-to-noise ratio of outputs, with the images they were made from as the truth."""

from typing import ClassVar

from torch import Tensor

from saddlepoint.evaluation.metrics.pairs import (
    Comparison,
    Region,
    as_bytes,
    mean_over_region,
    weights_of_region,
)
from saddlepoint.items import Items
from saddlepoint.records.record import LARGER
from saddlepoint.schema import Positive, checked


class PSNR(Comparison):
    """10 log10(255^2 / mean squared error) in dB of 8-bit images, the mean over pairs.

    Args:
        region: as of `Comparison`.
        reference: as of `Comparison`.
        ceiling: what a pair without any error counts as, and no pair more, in dB.
    """

    name: ClassVar[str] = "psnr"
    measure = "PSNR"
    better = LARGER

    @checked
    def __init__(
        self, region: Region = "image", reference: str = "image", ceiling: Positive = 100.0
    ) -> None:
        super().__init__(region, reference)
        self.ceiling = ceiling

    def values(self, output: Tensor, inputs: Items) -> dict[str, Tensor]:
        """PSNR of each pair."""
        error = as_bytes(output).double() - as_bytes(inputs[self.reference]).double()
        mean = mean_over_region(error.square(), weights_of_region(self.region, error, inputs))
        ratio = 255**2 / mean.clamp(min=1e-12)  # a NaN stays one
        return {self.value: (10 * ratio.log10()).clamp(max=self.ceiling)}
