"""How many generated images look real, and how many real ones could be generated.

T. Kynkaanniemi, T. Karras, S. Laine, J. Lehtinen, T. Aila, "Improved Precision and Recall Metric
for Assessing Generative Models", NeurIPS 2019, section 2.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.collectors import MetricOfVectors
from saddlepoint.evaluation.metrics.metric import Collector
from saddlepoint.evaluation.metrics.neighbours import blocks_of_distances, squared_radii
from saddlepoint.records.record import LARGER
from saddlepoint.schema import Size, checked


class PrecisionRecall(MetricOfVectors):
    """Precision and recall of manifolds made of balls.

    Around each image of a side is a closed ball that reaches to its k-th nearest neighbour on that
    side. Precision is the share of generated images in some ball of a real one, recall the share of
    real images in some ball of a generated one.

    Args:
        neighbours: k.
        settings: of `SetMetric`.
    """

    name: ClassVar[str] = "precision_recall"
    directions: ClassVar[dict[str, str]] = {"precision": LARGER, "recall": LARGER}

    @checked
    def __init__(self, neighbours: Size = 3, **settings: Any) -> None:
        super().__init__(**settings)
        self.neighbours = neighbours

    def check(self, data: Any, num_real: int, num_fake: int) -> None:
        """Every image needs k neighbours."""
        check_neighbours(self.name, self.neighbours, num_real, num_fake)

    def compute(
        self, real: Mapping[str, Collector], fake: Mapping[str, Collector]
    ) -> dict[str, float]:
        """Precision and recall, in [0, 1]."""
        reals, fakes = real["vectors"].features, fake["vectors"].features
        real_radii, fake_radii = (squared_radii(side, self.neighbours) for side in (reals, fakes))
        looks_real = []
        could_be_generated = torch.zeros_like(real_radii, dtype=torch.bool)
        for rows, distances in blocks_of_distances(fakes, reals):
            looks_real.append(distances.within(real_radii, closed=True).any(1))
            could_be_generated |= distances.within(fake_radii[rows, None], closed=True).any(0)
        return {
            "precision": torch.cat(looks_real).double().mean().item(),
            "recall": could_be_generated.double().mean().item(),
        }


def check_neighbours(name: str, neighbours: int, *counts: int) -> None:
    """Refuse sides with too few images for that many neighbours."""
    if min(counts) <= neighbours:
        raise UserError(
            f"{name} looks for {neighbours} neighbours of each image and a side has"
            f" {min(counts)} images in all: set num_real and num_fake to far more."
        )
