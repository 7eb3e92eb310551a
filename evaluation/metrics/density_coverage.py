"""How densely generated images fill the places of real ones, and how many of these they reach.

M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo, "Reliable Fidelity and Diversity Metrics for
Generative Models", ICML 2020, eqs. 7 and 9.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from saddlepoint.evaluation.metrics.collectors import MetricOfVectors
from saddlepoint.evaluation.metrics.metric import Collector
from saddlepoint.evaluation.metrics.neighbours import blocks_of_distances, squared_radii
from saddlepoint.evaluation.metrics.precision_recall import check_neighbours
from saddlepoint.records.record import LARGER
from saddlepoint.schema import Size, checked


class DensityCoverage(MetricOfVectors):
    """Density and coverage of the balls around real images.

    Around each real image is a ball that reaches to its k-th nearest neighbour, open as in the
    authors' code. Density is the mean number of such balls that a generated image lies in, divided
    by k; coverage is the share of balls with a generated image in them. Real images with k
    duplicates have empty balls.

    Args:
        neighbours: k.
        settings: of `SetMetric`.
    """

    name: ClassVar[str] = "density_coverage"
    directions: ClassVar[dict[str, str]] = {"density": LARGER, "coverage": LARGER}

    @checked
    def __init__(self, neighbours: Size = 5, **settings: Any) -> None:
        super().__init__(**settings)
        self.neighbours = neighbours

    def check(self, data: Any, num_real: int, num_fake: int) -> None:
        """Every real image needs k neighbours."""
        check_neighbours(self.name, self.neighbours, num_real)

    def compute(
        self, real: Mapping[str, Collector], fake: Mapping[str, Collector]
    ) -> dict[str, float]:
        """Density, at least 0 and about 1 for equal distributions, and coverage, in [0, 1]."""
        reals, fakes = real["vectors"].features, fake["vectors"].features
        radii = squared_radii(reals, self.neighbours)
        inside = torch.zeros_like(radii, dtype=torch.int64)  # generated images in each ball
        for _, distances in blocks_of_distances(fakes, reals):
            inside += distances.within(radii, closed=False).sum(0)
        return {
            "density": inside.sum().item() / (self.neighbours * len(fakes)),
            "coverage": (inside > 0).double().mean().item(),
        }
