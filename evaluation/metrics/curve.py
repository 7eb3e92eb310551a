"""How close points come to the curve that the data lie around, and how evenly they fill it."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from scipy.stats import kstest
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.collectors import Vectors
from saddlepoint.evaluation.metrics.metric import Collector, SetMetric
from saddlepoint.records.record import LARGER, SMALLER
from saddlepoint.schema import Positive, checked


class Curve(SetMetric):
    """Points near the curve, and the distance of their places along it from an even distribution.

    Args:
        radius: what is near, in standard deviations of the data's noise.
        settings: of `SetMetric`.
    """

    name: ClassVar[str] = "curve"
    directions: ClassVar[dict[str, str]] = {"on_curve": LARGER, "KS_along": SMALLER}
    _curve: Tensor
    _largest: float

    @checked
    def __init__(self, radius: Positive = 3.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.radius = radius

    def check(self, data: Any, num_real: int, num_fake: int) -> None:
        """The curve has to be known."""
        if data.curve is None:
            raise UserError(
                f"{data.spec.name} lies around no known curve: leave the score curve out."
            )
        self._curve, self._largest = data.curve.double(), self.radius * data.noise_std

    def of_fakes(self, count: int, device: torch.device) -> dict[str, Collector]:
        """The points."""
        return {"vectors": Vectors(device)}

    def compute(
        self, real: Mapping[str, Collector], fake: Mapping[str, Collector]
    ) -> dict[str, float]:
        """on_curve, a share, and KS_along: Kolmogorov and Smirnov's distance of the places."""
        points = fake["vectors"].features.double().cpu()
        parts = [torch.cdist(part, self._curve).min(1) for part in points.split(1000)]
        distances = torch.cat([part.values for part in parts])
        places = (torch.cat([part.indices for part in parts]) + 0.5) / len(self._curve)
        return {
            "on_curve": (distances <= self._largest).double().mean().item(),
            "KS_along": float(kstest(places.numpy(), "uniform").statistic),
        }
