"""The structural similarity of outputs and the images they were made from.

Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image Quality Assessment: From Error
Visibility to Structural Similarity", IEEE Transactions on Image Processing 13(4), 2004, eq. 13.
"""

from typing import Any, ClassVar

from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

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
from saddlepoint.schema import checked

SMALLEST = 11  # pixels: the window of the paper


class SSIM(PairMetric):
    """SSIM of 8-bit images under the paper's Gaussian window, the mean over pairs; torchmetrics'.

    With a region its map is averaged there; windows at the edge of a mask see both sides of it.

    Args:
        region: "image", or "inside" or "outside" the mask; the score's name says which.
        reference: field of the inputs that outputs are compared with; "truth" is that of an edit.
    """

    name: ClassVar[str] = "ssim"

    @checked
    def __init__(self, region: Region = "image", reference: str = "image") -> None:
        self.region, self.reference = region, reference
        self.value = name_of("SSIM", region, reference)
        self.directions = {self.value: LARGER}
        self.needs = fields_of(region, reference)

    def check(self, data: Any, num_fake: int) -> None:
        """Images have to hold a window."""
        shape = data.spec.shape
        if len(shape) != 3 or min(shape[1:]) < SMALLEST:
            raise UserError(
                f"{self.name} compares images of at least {SMALLEST} pixels a side and"
                f" {data.spec.name} has items of shape {tuple(shape)}: leave it out."
            )

    def values(self, output: Tensor, inputs: Items) -> dict[str, Tensor]:
        """SSIM of each pair."""
        _, similarity = structural_similarity_index_measure(
            as_bytes(output).double(),
            as_bytes(inputs[self.reference]).double(),
            data_range=255.0,
            reduction="none",
            return_full_image=True,
        )
        weights = weights_of_region(self.region, similarity, inputs)
        return {self.value: mean_over_region(similarity, weights)}
