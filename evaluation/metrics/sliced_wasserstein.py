"""The sliced Wasserstein distance between two sets of points.

N. Bonneel, J. Rabin, G. Peyre, H. Pfister, "Sliced and Radon Wasserstein Barycenters of Measures",
Journal of Mathematical Imaging and Vision 51, 2015, with the absolute distance.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from scipy.stats import wasserstein_distance

from saddlepoint.evaluation.metrics.collectors import MetricOfVectors
from saddlepoint.evaluation.metrics.metric import Collector
from saddlepoint.randomness import keyed_generator
from saddlepoint.records.record import SMALLER
from saddlepoint.schema import Count, checked


class SlicedWasserstein(MetricOfVectors):
    """Mean over directions of the Wasserstein distance W1 between both sides' projections.

    Two samples of one distribution are some way apart, too: the less, the larger they are.

    Args:
        slices: random directions, the same for everybody.
        settings: of `SetMetric`.
    """

    name: ClassVar[str] = "sliced_wasserstein"
    directions: ClassVar[dict[str, str]] = {"sliced_W1": SMALLER}

    @checked
    def __init__(self, slices: Count = 64, **settings: Any) -> None:
        super().__init__(**settings)
        self.slices = slices

    def compute(
        self, real: Mapping[str, Collector], fake: Mapping[str, Collector]
    ) -> dict[str, float]:
        """sliced_W1, in the units of the features."""
        sides = [side["vectors"].features.double().cpu() for side in (real, fake)]
        generator = keyed_generator("slices")
        axes = torch.randn(sides[0].shape[1], self.slices, dtype=torch.float64, generator=generator)
        reals, fakes = ((side @ (axes / axes.norm(dim=0))).T.numpy() for side in sides)
        distances = map(wasserstein_distance, reals, fakes)
        return {"sliced_W1": sum(distances) / self.slices}
