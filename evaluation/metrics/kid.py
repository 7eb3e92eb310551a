"""The Kernel Inception Distance.

M. Binkowski, D. J. Sutherland, M. Arbel, A. Gretton, "Demystifying MMD GANs", ICLR 2018, section 4:
the unbiased estimate of the squared maximum mean discrepancy, with a polynomial kernel, averaged
over random subsets of the images.
"""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.collectors import MetricOfVectors
from saddlepoint.evaluation.metrics.double import as_double
from saddlepoint.evaluation.metrics.metric import Collector
from saddlepoint.records.record import SMALLER
from saddlepoint.schema import MOST_IMAGES, Count, Natural, NotNegative, Positive, checked

#: Rows of a kernel matrix that are in memory at a time.
BLOCK = 1024


class KID(MetricOfVectors):
    """Mean and standard deviation of the distance over subsets of both sides.

    Subsets are those of torch-fidelity, for the same numbers of images. The kernel is
    k(x, y) = (gamma x.y + coef0)^degree, in float64: the distance is a small difference of large
    sums, of which float32 leaves about four digits.

    Args:
        subsets: how many are drawn.
        subset_size: images in each, of either side, without replacement.
        degree: of the kernel.
        gamma: of the kernel; None takes 1 / number of features.
        coef0: of the kernel.
        rng_seed: of the draws.
        settings: of `SetMetric`.
    """

    name: ClassVar[str] = "kid"
    directions: ClassVar[dict[str, str | None]] = {"KID": SMALLER, "KID_std": None}

    @checked
    def __init__(
        self,
        subsets: Count = 100,
        subset_size: Annotated[int, Ge(2), Le(MOST_IMAGES)] = 1000,
        degree: Count = 3,
        gamma: Positive | None = None,
        coef0: NotNegative = 1.0,
        rng_seed: Natural = 2020,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.subsets = subsets
        self.subset_size = subset_size
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.rng_seed = rng_seed

    def check(self, data: Any, num_real: int, num_fake: int) -> None:
        """Both sides have to hold a subset."""
        if min(num_real, num_fake) < self.subset_size:
            raise UserError(
                f"kid compares subsets of {self.subset_size} images and there are {num_real} real"
                f" and {num_fake} generated ones: set num_real and num_fake to more, or"
                " kid.subset_size to less."
            )

    def compute(
        self, real: Mapping[str, Collector], fake: Mapping[str, Collector]
    ) -> dict[str, float]:
        """KID, the mean over subsets, and KID_std, their standard deviation."""
        reals, fakes = real["vectors"].features, fake["vectors"].features
        size = self.subset_size
        draws = np.random.RandomState(self.rng_seed)  # noqa: NPY002
        drawn = [
            [draws.choice(len(side), size, replace=False) for side in (fakes, reals)]
            for _ in range(self.subsets)
        ]
        # With all pairs at hand every subset's sums follow from the same kernel matrix; where that
        # is larger than those of all subsets together, they are taken one by one.
        all_at_once = max(len(reals), len(fakes)) ** 2 <= self.subsets * size**2
        groups = [drawn] if all_at_once else [[pair] for pair in drawn]
        values = torch.cat([self._distances(fakes, reals, group) for group in groups])
        scores = {"KID": values.mean().item(), "KID_std": values.std(correction=0).item()}
        if not all(map(math.isfinite, scores.values())):
            raise UserError(f"kid overflows: set kid.degree={self.degree} to less.")
        return scores

    def _distances(self, fakes: Tensor, reals: Tensor, drawn: list[list[np.ndarray]]) -> Tensor:
        """Distances (s,) of s pairs of subsets, each given by its positions among both sides."""
        fakes, in_fakes = _restricted(fakes, [pair[0] for pair in drawn])
        reals, in_reals = _restricted(reals, [pair[1] for pair in drawn])
        size = self.subset_size
        within = sum_over_pairs(self.kernel, fakes, in_fakes)
        within += sum_over_pairs(self.kernel, reals, in_reals)
        between = sum_over_products(self.kernel, fakes, in_fakes, reals, in_reals)
        return within / (size * (size - 1)) - 2 * between / size**2

    def kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel (n, m) of vectors (n, d) and (m, d)."""
        gamma = 1 / x.shape[1] if self.gamma is None else self.gamma
        return (x @ y.mT).mul_(gamma).add_(self.coef0).pow_(self.degree)


Kernel = Callable[[Tensor, Tensor], Tensor]


def sum_over_pairs(kernel: Kernel, x: Tensor, member: Tensor) -> Tensor:
    """Sum of k(x_i, x_j) over i != j within each of s subsets, (s,).

    Args:
        kernel: of two sets of vectors; symmetric.
        x: (n, d).
        member: (s, n), 1 where a vector belongs to a subset, 0 elsewhere.
    """
    result = x.new_zeros(len(member))
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        above_diagonal = kernel(x[rows], x[start:]).triu_(1)
        result += ((member[:, rows] @ above_diagonal) * member[:, start:]).sum(1)
    return 2 * result


def sum_over_products(
    kernel: Kernel, x: Tensor, x_member: Tensor, y: Tensor, y_member: Tensor
) -> Tensor:
    """Sum of k(x_i, y_j) over all i and j of each of s subsets, (s,); see `sum_over_pairs`."""
    result = x.new_zeros(len(x_member))
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        result += ((x_member[:, rows] @ kernel(x[rows], y)) * y_member).sum(1)
    return result


def _restricted(vectors: Tensor, drawn: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Vectors (n, d) that are drawn at all, float64, and their membership (s, n) in each draw."""
    union, place = np.unique(np.concatenate(drawn), return_inverse=True)
    vectors = as_double(vectors[torch.from_numpy(union).to(vectors.device)])
    member = vectors.new_zeros(len(drawn), len(union))
    places = torch.from_numpy(place.reshape(len(drawn), -1)).to(vectors.device)
    return vectors, member.scatter_(1, places, 1.0)
