"""The Frechet distance as a function of the number of samples, and its value at infinitely many.

The distance of N samples is biased, by about c / N with a c that depends on the generator, so that
distances at a finite N may rank two generators wrongly. M. J. Chong, D. Forsyth, "Effectively
Unbiased FID and Inception Score and Where to Find Them", CVPR 2020, arXiv 1911.07023, section 4:
the distance at several N, a straight line over 1 / N, and its intercept, FID_infinity.
"""

import math
from typing import NamedTuple

import torch
from scipy.stats import linregress
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.frechet import FeatureStatistics, frechet_distance
from saddlepoint.randomness import keyed_generator


class DistanceBySampleSize(NamedTuple):
    """Distances d(N) and the line d(N) = intercept + slope / N through them.

    Attributes:
        counts: numbers of samples, ascending.
        distances: at these, means over subsets that together hold all samples.
        intercept: the distance at infinitely many samples.
        slope: the bias of one distance is slope / N.
        intercept_error: standard error of the intercept, from the scatter about the line. All
            points come from the same samples, so that it says how straight they lie, and not where
            those of other samples would.
    """

    counts: list[int]
    distances: list[float]
    intercept: float
    slope: float
    intercept_error: float


def distance_by_sample_size(
    features: Tensor,
    real: FeatureStatistics,
    *,
    points: int = 15,
    fewest: int | None = None,
    seed: int = 0,
) -> DistanceBySampleSize:
    """Measure the distance at evenly spaced numbers of samples, and extrapolate it.

    The real side is the same for all points: what bias its finite number brings stays. A point is
    the mean distance of as many random subsets as it takes to hold all samples; with one, as in the
    paper, a small subset scatters by more than the bias that is looked for.

    Args:
        features: (N, d) of generated images.
        real: statistics of the real images' features.
        points: numbers of samples, the last of them N.
        fewest: the first of them. By default N / 10, or 2 d where that is more, but N / 2 at most:
            with hardly more samples than dimensions the bias is not yet proportional to 1 / N.
        seed: key of the random subsets.

    Raises:
        UserError: too few samples or points.
    """
    count, dimensions = features.shape
    if fewest is None:
        fewest = max(count // 10, min(2 * dimensions, count // 2))
    if points < 3 or fewest < 2 or count - fewest < points:
        raise UserError(
            f"{points} different numbers of samples, from {fewest} to {count}, cannot be had: draw"
            " more samples, or ask for fewer points (3 at least)."
        )
    counts = torch.linspace(fewest, count, points, dtype=torch.float64).long().tolist()
    distances = []
    for number in counts:
        order = torch.randperm(count, generator=keyed_generator(seed, "sample size", number))
        subsets = math.ceil(count / number)
        starts = torch.linspace(0, count - number, subsets, dtype=torch.float64).long().tolist()
        chosen = [order[start : start + number].to(features.device) for start in starts]
        distances.append(sum(_distance(features[subset], real) for subset in chosen) / subsets)
    line = linregress([1 / number for number in counts], distances)
    return DistanceBySampleSize(
        counts,
        distances,
        intercept=float(line.intercept),
        slope=float(line.slope),
        intercept_error=float(line.intercept_stderr),
    )


def _distance(features: Tensor, real: FeatureStatistics) -> float:
    statistics = FeatureStatistics(features.device)
    statistics.update(features)
    return frechet_distance(real, statistics)
