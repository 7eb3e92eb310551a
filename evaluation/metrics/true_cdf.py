"""How far samples on the line are from the true distribution, and not from a sample of it."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.collectors import Vectors
from saddlepoint.evaluation.metrics.metric import Collector, SetMetric
from saddlepoint.records.record import SMALLER

STEPS = 100_000  # of the integral over the line


class TrueCDF(SetMetric):
    """Distances between the distribution functions F_n of the samples and F of the data.

    The Wasserstein distance is W1 = integral |F_n - F| dx, that of Kolmogorov and Smirnov is
    KS = sup |F_n - F|.
    """

    name: ClassVar[str] = "true_cdf"
    directions: ClassVar[dict[str, str]] = {"W1": SMALLER, "KS": SMALLER}
    _cdf: Callable[[Tensor], Tensor]

    def check(self, data: Any, num_real: int, num_fake: int) -> None:
        """The distribution function has to be known."""
        if not hasattr(data, "cdf"):
            raise UserError(
                f"{data.spec.name} has no known distribution function: leave the score true_cdf"
                " out, or use sliced_wasserstein."
            )
        self._cdf = data.cdf

    def of_fakes(self, count: int, device: torch.device) -> dict[str, Collector]:
        """The samples."""
        return {"vectors": Vectors(device)}

    def compute(
        self, real: Mapping[str, Collector], fake: Mapping[str, Collector]
    ) -> dict[str, float]:
        """W1, in the units of the points, and KS."""
        samples = fake["vectors"].features.double().cpu().flatten().sort().values
        return {"W1": wasserstein(samples, self._cdf), "KS": kolmogorov(samples, self._cdf)}


def kolmogorov(samples: Tensor, cdf: Callable[[Tensor], Tensor]) -> float:
    """Largest difference of the distribution functions; ``samples`` (n,) are sorted."""
    below = torch.arange(len(samples), dtype=torch.float64) / len(samples)
    above, true = below + 1 / len(samples), cdf(samples)
    return torch.maximum(above - true, true - below).max().item()


def wasserstein(samples: Tensor, cdf: Callable[[Tensor], Tensor]) -> float:
    """Integral of the difference of the distribution functions; ``samples`` (n,) are sorted.

    Between two neighbours of the samples and a fine grid F_n is constant, and the integral by the
    trapezoidal rule. The grid covers [-2, 2], outside of which toys have nothing, and all samples.
    """
    low, high = samples[0].clamp(max=-2.0), samples[-1].clamp(min=2.0)
    grid = low + (high - low) * torch.linspace(0, 1, STEPS + 1, dtype=torch.float64)
    places = torch.cat([samples, grid]).sort().values
    shares = torch.searchsorted(samples, places[:-1], right=True) / len(samples)
    true = cdf(places)
    heights = (shares - true[:-1]).abs() + (shares - true[1:]).abs()
    return (heights * places.diff() / 2).sum().item()
