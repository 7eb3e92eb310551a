"""What the spread over training seeds allows to say: which means differ, and by how much.

Welch's t-test (B. L. Welch, Biometrika 34, 1947): two-sided, of unequal variances. Of all pairs
that are compared at once those are told apart that the step-up procedure of Benjamini and Hochberg
(J. R. Stat. Soc. B 57, 1995) keeps: one in twenty of them may be expected to differ by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
TEST = "Welch's t-test over training seeds, 5 % false discoveries among all pairs"


@dataclass(frozen=True)
class Sample:
    """A score over training seeds.

    Attributes:
        count: seeds.
        mean: over them.
        spread: standard deviation (n - 1); nothing with one seed.
    """

    count: int
    mean: float
    spread: float | None


@dataclass(frozen=True)
class Difference:
    """How much more a mean is than another.

    Attributes:
        value: one mean minus the other.
        half_width: of its 95 % interval; None where a side has one seed.
    """

    value: float
    half_width: float | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Low and high end."""
        if self.half_width is None:
            return None
        return self.value - self.half_width, self.value + self.half_width


def difference(a: Sample, b: Sample) -> Difference:
    """The mean of ``a`` minus that of ``b``."""
    half_width = float(half_widths([a, b])[0, 1])
    return Difference(a.mean - b.mean, None if np.isnan(half_width) else half_width)


def half_widths(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Half of the 95 % interval of each difference (k, k); NaN where a side has one seed."""
    from scipy.stats import t  # takes a second, and not everybody has several seeds

    error, freedom = _error_and_freedom(samples)
    with np.errstate(invalid="ignore"):
        widths = t.ppf(1 - LEVEL / 2, freedom) * error
    return np.where(error == 0, 0.0, widths)


def told_apart(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    """Which pairs (k, k) differ by more than their spread explains.

    Pairs with a side of one seed are never told apart; means without any spread are, if unequal.
    """
    found = np.zeros((len(samples), len(samples)), dtype=bool)
    if sum(sample.count > 1 for sample in samples) < 2:
        return found
    from scipy.stats import false_discovery_control, t

    error, freedom = _error_and_freedom(samples)
    means = np.array([sample.mean for sample in samples])
    gap = np.abs(means[:, None] - means)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * t.sf(gap / error, freedom)
    p = np.where(error == 0, (gap == 0).astype(float), p)
    pairs = np.triu(np.isfinite(p), k=1)
    found[pairs] = false_discovery_control(p[pairs]) <= LEVEL
    return found | found.T


def _error_and_freedom(
    samples: Sequence[Sample],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standard error (k, k) of each difference, and the degrees of freedom (Satterthwaite)."""
    seeds = np.array([sample.count for sample in samples], dtype=float)
    spreads = np.array([np.nan if s.spread is None else s.spread for s in samples], dtype=float)
    squares = spreads**2 / seeds
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = squares**2 / (seeds - 1)
        freedom = (squares[:, None] + squares) ** 2 / (shares[:, None] + shares)
    return np.sqrt(squares[:, None] + squares), freedom
