"""A Gaussian process that is lazy: it keeps its hyper-parameters while its factor grows.

R. Ram, S. Mueller, F.-J. Pfreundt, N. R. Gauger, J. Keuper, "Scalable Hyperparameter Optimization
with Lazy Gaussian Processes", MLHPC at SC19, 2019. Two things differ from the code that came with
it: a refit's hyper-parameters are carried forward (there, every step but the refits falls back to
the initial length scale), and predictions use triangular solves (there, inverses, in O(n^3)).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from saddlepoint.search.factor import GrowingFactor
from saddlepoint.search.kernels import KERNELS, squared_distances
from saddlepoint.search.likelihood import Hyperparameters, most_likely
from saddlepoint.search.refit import Schedule

Array = NDArray[np.float64]

#: Entries of the factor's product may be this far off, relative to the diagonal.
TOLERANCE = 1e-8
#: Rows from which a refit only begins at the last hyper-parameters: they hardly move by then.
RESTARTED_BELOW = 128
#: Targets after a refit whose foreseen densities a schedule is told.
LAST = 10


class Posterior(NamedTuple):
    """What is believed at points, in units of the targets' spread from their mean.

    Attributes:
        mean: (m,).
        std: (m,), of the function without its noise.
        mean_gradient: (m, d), or None if not asked for.
        std_gradient: (m, d), or None if not asked for.
    """

    mean: Array
    std: Array
    mean_gradient: Array | None = None
    std_gradient: Array | None = None


class LazyGaussianProcess:
    """Regression of targets on points of the unit cube.

    Targets have their mean taken off and are divided by their standard deviation outside of the
    kernel matrix, which therefore does not change when they do.

    Args:
        columns: d.
        schedule: when hyper-parameters are learned anew.
        kernel: one of `kernels.KERNELS`.
        ard: whether every column has a length scale of its own.
        noise: variance of an observation, for targets of variance 1; None: it is learned.
        seed: of the restarts of a refit.
        known: hyper-parameters by the rows of an earlier refit on the same data; taken as they are.

    Attributes:
        refits: hyper-parameters by the number of rows that they were learned from.
    """

    def __init__(
        self,
        columns: int,
        schedule: Schedule,
        *,
        kernel: str = "matern52",
        ard: bool = True,
        noise: float | None = None,
        seed: int = 0,
        known: Mapping[int, Hyperparameters] | None = None,
    ) -> None:
        self.kernel = KERNELS[kernel]
        self.schedule = schedule
        self.learn_noise = noise is None
        self.seed = seed
        self.known = dict(known or {})
        self.refits: dict[int, Hyperparameters] = {}
        self.hyperparameters = Hyperparameters(
            np.full(columns if ard else 1, 0.5), 1e-2 if noise is None else noise
        )
        self.factor = GrowingFactor()
        self.x = np.zeros((0, columns))
        self._targets = np.zeros(0)
        self._weights = np.zeros(0)
        self._rows = 0
        self.location, self.scale = 0.0, 1.0

    @property
    def rows(self) -> int:
        """Points seen; imagined ones do not count."""
        return self._rows

    def see(self, x: Array, y: Array) -> None:
        """Add one observation.

        Args:
            x: point (d,).
            y: targets (n,) of all points seen, this one's last; earlier ones may have changed.

        Raises:
            NotPositiveDefiniteError: the points' covariances have no factor.
        """
        self.forget()
        if self._rows and self.schedule.watches:
            self._standardise(y[:-1])
            believed = self.posterior(x[None])
            spread = np.hypot(believed.std[0], np.sqrt(self.hyperparameters.noise))
            miss = (y[-1] - self.location) / self.scale - believed.mean[0]
            self.schedule.foreseen(_log_density(miss, spread))
        self._append(x[None])
        self._rows += 1
        self._standardise(y)
        if self.schedule.is_due(self._rows):
            self.refit()
        elif not self._is_exact():
            self.factor.factorise(self._covariance(self.x))
            self._weigh()

    def refit(self) -> None:
        """Learn the hyper-parameters from all that was seen, and factorise anew, in O(n^3)."""
        n = self._rows
        if n in self.known:
            self.hyperparameters = self.known[n]
        elif np.ptp(self._targets) > 0:
            self.hyperparameters = most_likely(
                self.x,
                self._targets,
                self.kernel,
                self.hyperparameters,
                learn_noise=self.learn_noise,
                rng=np.random.default_rng([self.seed, n]),
                restarts=1 if n < RESTARTED_BELOW else 0,
            )
        self.refits[n] = self.hyperparameters
        self.factor.factorise(self._covariance(self.x))
        self._weigh()
        self.schedule.refitted(n, self._left_out(min(n, LAST)))

    def imagine(self, x: Array, target: float | None = None) -> None:
        """Add points (m, d) as if they had been seen, until `forget`.

        Args:
            x: points whose runs are not over.
            target: what they are imagined to give; None: what is believed (the kriging believer),
                which leaves the mean as it is and takes the uncertainty away around them.
        """
        if not len(x):
            return
        imagined = self.posterior(x).mean if target is None else np.full(len(x), target)
        self._append(x)
        self._targets = np.append(self._targets, imagined)
        self._weigh()

    def forget(self) -> None:
        """Take back all that was imagined; the factor is as it was, bit for bit."""
        if len(self.x) == self._rows:
            return
        self.factor.truncate(self._rows)
        self.x, self._targets = self.x[: self._rows], self._targets[: self._rows]
        self._weigh()

    def posterior(self, x: Array, *, gradient: bool = False) -> Posterior:
        """What is believed at points (m, d), in O(m n^2)."""
        at, seen = self.hyperparameters.scaled(x), self.hyperparameters.scaled(self.x)
        # Column by column, as LAPACK wants it: nothing is moved about.
        cross, slope = self.kernel(squared_distances(at, seen).T)  # (n, m)
        mean = self._weights @ cross
        whitened = self.factor.solve_lower(cross)
        variance = np.maximum(1.0 - np.einsum("nm,nm->m", whitened, whitened), 0.0)
        std = np.sqrt(variance)
        if not gradient:
            return Posterior(mean, std)
        # dk(x_i, x) / dx = 2 slope (x - x_i) / l^2, summed over i with weights.
        solved = self.factor.solve_upper(whitened)

        def along(weights: Array) -> Array:
            weights = weights * slope
            pulled = weights.sum(axis=0)[:, None] * at - weights.T @ seen
            return 2.0 * pulled / self.hyperparameters.length_scales

        std_gradient = -along(solved) / np.maximum(std, 1e-12)[:, None]
        return Posterior(mean, std, along(self._weights[:, None]), std_gradient)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation at points (m, d), in the units of the targets."""
        believed = self.posterior(x)
        return self.location + self.scale * believed.mean, self.scale * believed.std

    def best_mean(self) -> float:
        """The largest mean believed at a point seen, in the units of `posterior`, in O(n).

        With b = (k + noise I)^{-1} y the means k b are y - noise b. Where scores are noisy, the
        largest target is a lucky one, and nothing near it would seem an improvement but more luck.
        """
        noise = self.hyperparameters.noise
        return float((self._targets - noise * self._weights)[: self._rows].max())

    def standardised(self, y: float) -> float:
        """A target in the units of `posterior`."""
        return (y - self.location) / self.scale

    def _append(self, x: Array) -> None:
        at, seen = self.hyperparameters.scaled(x), self.hyperparameters.scaled(self.x)
        self.factor.extend(self.kernel(squared_distances(seen, at))[0], self._covariance(x))
        self.x = np.concatenate([self.x, x])

    def _covariance(self, x: Array) -> Array:
        at = self.hyperparameters.scaled(x)
        matrix = self.kernel(squared_distances(at, at))[0]
        matrix[np.diag_indices(len(x))] += self.hyperparameters.noise
        return matrix

    def _standardise(self, y: Array) -> None:
        spread = float(np.std(y))
        self.location = float(np.mean(y))
        self.scale = spread if spread > 1e-12 * max(1.0, abs(self.location)) else 1.0
        self._targets = (y - self.location) / self.scale
        self._weigh()

    def _weigh(self) -> None:
        self._weights = self.factor.solve(self._targets)

    def _left_out(self, last: int) -> list[float]:
        """Log densities of the last targets, each foreseen from all others.

        Rasmussen and Williams, eq. 5.12: with the inverse Q of K, the target i has the variance
        1 / Q_ii and misses its mean by (K^{-1} y)_i / Q_ii.
        """
        ends = np.eye(self._rows)[:, self._rows - last :]
        precision = np.einsum("nm,nm->m", ends, self.factor.solve(ends))
        misses = self._weights[self._rows - last :] / precision
        return [_log_density(m, q**-0.5) for m, q in zip(misses, precision, strict=True)]

    def _is_exact(self) -> bool:
        """Whether the factor's product is still the covariance, at a few entries."""
        at = self.hyperparameters.scaled(self.x)

        def entries(i: NDArray[np.int64], j: NDArray[np.int64]) -> Array:
            squared = ((at[i] - at[j]) ** 2).sum(axis=1)
            return self.kernel(squared)[0] + self.hyperparameters.noise * (i == j)

        allowed = TOLERANCE + self.factor.jitter
        rng = np.random.default_rng([self.seed, self._rows])
        return self.factor.residual(entries, rng) <= allowed * (1.0 + self.hyperparameters.noise)


def _log_density(miss: float, std: float) -> float:
    return float(-0.5 * (miss / std) ** 2 - np.log(std) - 0.5 * np.log(2.0 * np.pi))
