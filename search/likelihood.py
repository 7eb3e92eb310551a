"""Hyper-parameters of a Gaussian process, and how likely they make what was seen.

    log p(y | X) = -1/2 y^T K^{-1} y - sum_i log L_ii - n/2 log 2 pi
    K = k(X, X) + noise I = L L^T

The gradient is analytic: with A = b b^T - K^{-1}, b = K^{-1} y, it is 1/2 tr(A dK/dtheta), and for
length scales that is one product of A (entry by entry with the kernel's slope) and X: O(n^3) for
the inverse, O(n^2 d) for the rest. Rasmussen and Williams, Gaussian Processes for Machine Learning,
eq. 5.8 and 5.9.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs
from scipy.optimize import minimize

from saddlepoint.search.kernels import Kernel, squared_distances

Array = NDArray[np.float64]

#: Of length scales in the unit cube; the largest leaves a column without influence.
LENGTH_BOUNDS = (1e-2, 1e2)
#: Of noise, as a share of the variance of the targets.
NOISE_BOUNDS = (1e-6, 1.0)
#: Of L-BFGS in one search; noise-free targets have likelihoods that are flat near their maximum.
STEPS = 60


@dataclass(frozen=True)
class Hyperparameters:
    """What a Gaussian process is refitted by.

    Attributes:
        length_scales: (d,), or (1,) for one that all columns share.
        noise: variance of an observation, for targets of variance 1.
    """

    length_scales: Array
    noise: float

    def scaled(self, x: Array) -> Array:
        """Points (n, d) divided by their length scales."""
        return x / self.length_scales


def log_likelihood(
    x: Array, y: Array, kernel: Kernel, at: Hyperparameters
) -> tuple[float, Array, float]:
    """Log marginal likelihood and its gradient by the logarithms of the hyper-parameters.

    Args:
        x: points (n, d).
        y: targets (n,), of mean 0.
        kernel: one of `kernels.KERNELS`.
        at: hyper-parameters.

    Returns:
        The value, its gradient by the log length scales (of their shape), and by the log noise;
        minus infinity and zeros where the matrix has no factor.
    """
    n = len(y)
    scaled = at.scaled(x)
    value, slope = kernel(squared_distances(scaled, scaled))
    value[np.diag_indices(n)] += at.noise
    lower, info = dpotrf(value, lower=1)
    if info:
        return -np.inf, np.zeros_like(at.length_scales), 0.0
    weights = dpotrs(lower, y, lower=1)[0]
    log_determinant = 2.0 * np.log(np.diag(lower)).sum()
    likelihood = -0.5 * (y @ weights + log_determinant + n * np.log(2.0 * np.pi))

    inverse = dpotri(lower, lower=1)[0]  # its lower half
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    pull = np.outer(weights, weights) - inverse
    # d r^2 / d log l_j = -2 (x_j - x'_j)^2 / l_j^2
    pulled = pull * slope
    of_column = pulled.sum(axis=0) @ scaled**2 - np.einsum("nd,nd->d", scaled, pulled @ scaled)
    by_length = -2.0 * of_column
    if len(at.length_scales) == 1:
        by_length = by_length.sum(keepdims=True)
    return float(likelihood), by_length, float(0.5 * at.noise * np.trace(pull))


def most_likely(
    x: Array,
    y: Array,
    kernel: Kernel,
    start: Hyperparameters,
    *,
    learn_noise: bool,
    rng: np.random.Generator,
    restarts: int = 1,
) -> Hyperparameters:
    """Hyper-parameters of the largest likelihood that L-BFGS finds.

    Args:
        x: points (n, d).
        y: targets (n,), of mean 0.
        kernel: one of `kernels.KERNELS`.
        start: where the first search begins: the last ones.
        learn_noise: whether the noise is a hyper-parameter.
        rng: where the other searches begin.
        restarts: their number.
    """
    lengths = len(start.length_scales)
    bounds = np.log([LENGTH_BOUNDS] * lengths + [NOISE_BOUNDS] * learn_noise)

    def hyperparameters(theta: Array) -> Hyperparameters:
        noise = float(np.exp(theta[-1])) if learn_noise else start.noise
        return Hyperparameters(np.exp(theta[:lengths]), noise)

    def loss(theta: Array) -> tuple[float, Array]:
        value, by_length, by_noise = log_likelihood(x, y, kernel, hyperparameters(theta))
        if not np.isfinite(value):
            return 1e25, np.zeros_like(theta)
        return -value, -np.append(by_length, [by_noise] * learn_noise)

    first = np.log(np.append(start.length_scales, [start.noise] * learn_noise))
    starts = [np.clip(first, *bounds.T), *rng.uniform(*bounds.T, size=(restarts, len(bounds)))]
    options = {"maxiter": STEPS}
    found = [
        minimize(loss, s, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        for s in starts
    ]
    return hyperparameters(min(found, key=lambda result: result.fun).x)
