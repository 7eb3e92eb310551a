"""Kernels of a Gaussian process as functions of the squared distance, with their slopes.

Distances are between points that have been divided by their length scales, and a kernel is 1 at
distance 0. With the slope dk/d(r^2) every gradient (by length scales, by points) is one product.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Array = NDArray[np.float64]
Kernel = Callable[[Array], tuple[Array, Array]]


def matern52(squared: Array) -> tuple[Array, Array]:
    """Matern 5/2: twice differentiable functions.

    k = (1 + a + a^2 / 3) exp(-a) with a = sqrt(5) r.

    Args:
        squared: r^2, any shape.

    Returns:
        k and dk/d(r^2), of the same shape.
    """
    a = np.sqrt(5.0 * squared)
    decay = np.exp(-a)
    rising = (1.0 + a) * decay
    return rising + a * a / 3.0 * decay, -5.0 / 6.0 * rising


def rbf(squared: Array) -> tuple[Array, Array]:
    """Squared exponential, smooth functions: k = exp(-r^2 / 2); see `matern52`."""
    value = np.exp(-0.5 * squared)
    return value, -0.5 * value


KERNELS: dict[str, Kernel] = {"matern52": matern52, "rbf": rbf}


def squared_distances(a: Array, b: Array) -> Array:
    """All r^2 (n, m) between points (n, d) and (m, d): differences, so that equal points give 0."""
    return cdist(a, b, "sqeuclidean")
