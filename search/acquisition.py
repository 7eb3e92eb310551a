"""How much a point is worth trying, with gradients; everything is maximised.

    z = (mean - best - xi) / std
    expected improvement         std h(z),  h(z) = phi(z) + z Phi(z)
    probability of improvement   Phi(z)
    upper confidence bound       mean + kappa std

The first two are taken as logarithms: they have the same maximum, and do not vanish, nor do their
gradients, far from it. S. Ament et al., "Unexpected Improvements to Expected Improvement for
Bayesian Optimization", NeurIPS 2023, section 4.1.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

from saddlepoint.search.surrogate import Posterior

Array = NDArray[np.float64]
#: Worth (m,) and its derivatives (m,) by mean and by std.
Worth = tuple[Array, Array, Array]
Acquisition = Callable[[Posterior, float], Worth]

_HALF_LOG_2_PI = 0.5 * np.log(2.0 * np.pi)
#: Below, 1 - |z| m(z) is lost to rounding, and its series in 1 / z^2 is exact.
_FAR = -100.0
#: Of the model; what has none is known already.
_SMALLEST_STD = 1e-12


def log_h(z: Array) -> tuple[Array, Array]:
    """Log of h(z) = phi(z) + z Phi(z), and its derivative Phi(z) / h(z), for any z.

    Below -1, with Mills' ratio m = Phi / phi at z, h = phi (1 - |z| m): an exact ratio of numbers
    that neither overflow nor vanish.
    """
    value, slope = np.empty_like(z), np.empty_like(z)
    near = z > -1.0
    phi, cdf = np.exp(-0.5 * z[near] ** 2 - _HALF_LOG_2_PI), np.exp(log_ndtr(z[near]))
    h = phi + z[near] * cdf
    value[near], slope[near] = np.log(h), cdf / h

    x = -z[~near]
    mills = np.sqrt(np.pi / 2.0) * erfcx(x / np.sqrt(2.0))
    far = x > -_FAR
    inverse = 1.0 / x**2
    series = inverse * (1.0 - inverse * (3.0 - inverse * (15.0 - inverse * 105.0)))
    ratio = np.where(far, series, 1.0 - x * mills)
    value[~near] = np.log(ratio) - 0.5 * x**2 - _HALF_LOG_2_PI
    slope[~near] = mills / ratio
    return value, slope


def log_expected_improvement(xi: float = 0.0) -> Acquisition:
    """Log of the expected improvement by more than ``xi``."""

    def worth(at: Posterior, best: float) -> Worth:
        std = np.maximum(at.std, _SMALLEST_STD)
        z = (at.mean - best - xi) / std
        value, slope = log_h(z)
        return np.log(std) + value, slope / std, (1.0 - slope * z) / std

    return worth


def log_probability_of_improvement(xi: float = 0.0) -> Acquisition:
    """Log of the probability of an improvement by more than ``xi``."""

    def worth(at: Posterior, best: float) -> Worth:
        std = np.maximum(at.std, _SMALLEST_STD)
        z = (at.mean - best - xi) / std
        # phi / Phi, by Mills' ratio of the other side: no overflow.
        hazard = np.sqrt(2.0 / np.pi) / erfcx(-z / np.sqrt(2.0))
        return log_ndtr(z), hazard / std, -hazard * z / std

    return worth


def upper_confidence_bound(kappa: float = 2.576) -> Acquisition:
    """Mean and ``kappa`` standard deviations."""

    def worth(at: Posterior, best: float) -> Worth:
        return at.mean + kappa * at.std, np.ones_like(at.mean), np.full_like(at.mean, kappa)

    return worth


def acquisition_of(name: str, xi: float, kappa: float) -> Acquisition:
    """The acquisition that a setting names: ``log_ei``, ``log_pi`` or ``ucb``."""
    if name == "ucb":
        return upper_confidence_bound(kappa)
    by_name = {"log_ei": log_expected_improvement, "log_pi": log_probability_of_improvement}
    return by_name[name](xi)
