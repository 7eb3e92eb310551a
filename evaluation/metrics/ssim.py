"""The structural similarity of outputs and the images they were made from.

Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image Quality Assessment: From Error
Visibility to Structural Similarity", IEEE Transactions on Image Processing 13(4), 2004, eq. 13.
"""

from typing import ClassVar

from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from saddlepoint.evaluation.metrics.pairs import (
    Comparison,
    as_bytes,
    mean_over_region,
    weights_of_region,
)
from saddlepoint.items import Items
from saddlepoint.records.record import LARGER


class SSIM(Comparison):
    """SSIM of 8-bit images under the paper's Gaussian window, the mean over pairs; torchmetrics'.

    With a region its map is averaged there; windows at the edge of a mask see both sides of it.
    """

    name: ClassVar[str] = "ssim"
    measure = "SSIM"
    better = LARGER
    smallest = 11  # the window of the paper

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
