"""A Cholesky factor that grows: a row costs O(n^2), where factorising anew costs O(n^3).

    K_{n+m} = [K_n  C ; C^T  S]    L_{n+m} = [L_n  0 ; B^T  G]
    B = L_n^{-1} C                 G G^T = S - B^T B

The leading block of a factor is the factor of the leading block, so that rows are taken back by
forgetting them. Everything is float64: float32 breaks after a few hundred rows.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dtrtrs

Array = NDArray[np.float64]
EntriesAt = Callable[[NDArray[np.int64], NDArray[np.int64]], Array]

#: What is added to the diagonal, relative to its mean, where rounding makes a matrix indefinite.
JITTERS = (0.0, 1e-10, 1e-8, 1e-6)


class NotPositiveDefiniteError(ArithmeticError):
    """A matrix is no covariance, not even with the largest jitter."""


class GrowingFactor:
    """Lower Cholesky factor of a matrix that gets rows and columns.

    Attributes:
        rows: n.
        jitter: the largest that was needed, relative to the diagonal.
        dense_factorisations: how often a whole matrix was factorised.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.jitter = 0.0
        self.dense_factorisations = 0
        self._room = np.zeros((0, 0), order="F")

    @property
    def lower(self) -> Array:
        """L (n, n), a view."""
        return self._room[: self.rows, : self.rows]

    def factorise(self, matrix: Array) -> None:
        """Start anew with a matrix (n, n), in O(n^3).

        Raises:
            NotPositiveDefiniteError: it has no factor.
        """
        factor, self.jitter = _cholesky(matrix)
        self.rows = 0
        self._make_room(len(matrix))
        self.rows = len(matrix)
        self.lower[:] = factor
        self.dense_factorisations += 1

    def extend(self, cross: Array, own: Array) -> None:
        """Add m rows, in O(n^2 m + n m^2 + m^3).

        Args:
            cross: covariances (n, m) of the rows before with those that are added.
            own: covariances (m, m) of the latter.

        Raises:
            NotPositiveDefiniteError: the larger matrix has no factor; the factor is as it was.
        """
        before, added = cross.shape
        solved = self.solve_lower(cross)
        corner, jitter = _cholesky(own - solved.T @ solved, scale=float(np.mean(np.diag(own))))
        self._make_room(before + added)
        self._room[before : before + added, :before] = solved.T
        self._room[before : before + added, before : before + added] = corner
        self.rows = before + added
        self.jitter = max(self.jitter, jitter)

    def truncate(self, rows: int) -> None:
        """Take back all rows but the first; those are as they were, bit for bit."""
        self.rows = min(rows, self.rows)

    def solve_lower(self, right: Array) -> Array:
        """L^{-1} right for (n,) or (n, m), in O(n^2 m)."""
        return self._solve(right, transposed=0)

    def solve_upper(self, right: Array) -> Array:
        """L^{-T} right for (n,) or (n, m), in O(n^2 m)."""
        return self._solve(right, transposed=1)

    def solve(self, right: Array) -> Array:
        """K^{-1} right."""
        return self.solve_upper(self.solve_lower(right))

    def log_determinant(self) -> float:
        """Of K."""
        return 2.0 * float(np.log(np.diag(self.lower)).sum())

    def residual(self, matrix_at: EntriesAt, rng: np.random.Generator, probes: int = 64) -> float:
        """The largest of some entries of |L L^T - K|, in O(n).

        Args:
            matrix_at: gives the entries of K at rows (p,) and columns (p,).
            rng: says which.
            probes: how many.
        """
        i, j = rng.integers(self.rows, size=(2, probes))
        made = np.einsum("pn,pn->p", self.lower[i], self.lower[j])
        return float(np.abs(made - matrix_at(i, j)).max())

    def _solve(self, right: Array, transposed: int) -> Array:
        if not self.rows:
            return np.zeros_like(right)
        # The first columns of the room lie in one piece: LAPACK reads them where they are.
        columns = self._room[:, : self.rows]
        solved, info = dtrtrs(columns, right, lower=1, trans=transposed)
        if info:
            raise NotPositiveDefiniteError(f"row {info} of the factor is 0")
        return solved

    def _make_room(self, rows: int) -> None:
        """Double the room where it is too small, so that a row seldom moves the others."""
        if rows > len(self._room):
            size = max(rows, 2 * len(self._room), 16)
            room = np.zeros((size, size), order="F")
            room[: self.rows, : self.rows] = self.lower
            self._room = room


def _cholesky(matrix: Array, scale: float | None = None) -> tuple[Array, float]:
    scale = float(np.mean(np.diag(matrix))) if scale is None else scale
    for jitter in JITTERS:
        factor, info = dpotrf(matrix + jitter * scale * np.eye(len(matrix)), lower=1, clean=1)
        if info == 0 and np.isfinite(factor).all():
            return factor, jitter
    raise NotPositiveDefiniteError(
        f"a matrix of {len(matrix)} rows has no Cholesky factor, not even with"
        f" {JITTERS[-1]:g} of its diagonal added"
    )
