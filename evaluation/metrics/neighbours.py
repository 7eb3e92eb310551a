"""Which of two sets of features are near each other: exactly, at the cost of float32.

Products of float32 rank all pairs, within a bound on what they can be wrong by. The few pairs that
the bound leaves open are computed in float64.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from saddlepoint.evaluation.metrics.double import as_double, device_with_double
from saddlepoint.extractors.extractor import full_precision

#: Distances that are in memory at a time.
BLOCK = 2**23
#: Numbers of pairs that are in memory at a time: what fits into a cache.
PAIRS = 2**17
#: Candidates for the k-th nearest beyond k: the more, the fewer rows have none that is certain.
SPARE = 2
#: Open pairs in a block, as a share of all, from which one product is cheaper than each by itself.
MANY = 1 / 64


class Distances:
    """Squared Euclidean distances of some vectors to all of another set.

    A distance counts as its float64 value, rounded to float32: what is equal but for the order of a
    sum compares as equal, and a vector is at distance 0 from its duplicates.

    Args:
        x: (b, d) float32.
        y: (m, d) float32.
        lengths: squared ones of y, (m,).
    """

    def __init__(self, x: Tensor, y: Tensor, lengths: Tensor) -> None:
        self.x, self.y = x, y
        own = _squared_lengths(x)[:, None]
        with full_precision(x.device):
            self.estimates = torch.addmm(lengths, x, y.mT, alpha=-2).add_(own)
        # |fl(a.b) - a.b| <= d u |a| |b| for any order of the sum, to first order in u = 2^-24 (N.
        # Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1), and 2 |a| |b| <=
        # |a|^2 + |b|^2. Lengths, and what all adds up to, are wrong by a few units more.
        self.error = (x.shape[1] + 16) * 2.0**-24 * (own.max() + lengths.max())

    def within(self, squared_radii: Tensor, *, closed: bool) -> Tensor:
        """Whether distances are below (if ``closed``: at most) some radii.

        Args:
            squared_radii: float32, of a shape that broadcasts to (b, m).
            closed: whether the balls hold their border.

        Returns:
            (b, m) bool.
        """
        inside = self.estimates < squared_radii - self.error
        # What is no number is open, too.
        is_open = ~(inside | (self.estimates > squared_radii + self.error))
        compare = torch.le if closed else torch.lt
        rows, columns = is_open.nonzero(as_tuple=True)
        if len(rows) > MANY * inside.numel():
            return compare(_squares(self.x, self.y), squared_radii)
        radii = squared_radii.expand_as(inside)[rows, columns]
        inside[rows, columns] = compare(self._of_pairs(rows, columns), radii)
        return inside

    def nearest(self, count: int) -> Tensor:
        """Squared distance of each of x to the ``count``-th nearest of y, (b,) float32."""
        candidates = min(count + SPARE, len(self.y))
        estimates, positions = self.estimates.topk(candidates, largest=False, sorted=True)
        rows = torch.arange(len(self.x), device=self.x.device).repeat_interleave(candidates)
        exact = self._of_pairs(rows, positions.flatten()).view_as(positions)
        found = exact.sort(dim=1).values[:, count - 1]
        if candidates < len(self.y):
            is_open = ~(estimates[:, -1] - self.error > found)  # one that is left out may be nearer
            if is_open.any():
                squares = _squares(self.x[is_open], self.y)
                found[is_open] = squares.topk(count, largest=False, sorted=True).values[:, -1]
        return found

    def _of_pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Those (n,) of some pairs, each by itself."""
        size = max(1, PAIRS // self.x.shape[1])
        parts = [
            (as_double(self.x[i]) - as_double(self.y[j])).square_().sum(1).float()
            for i, j in zip(rows.split(size), columns.split(size), strict=True)
        ]
        return torch.cat(parts)


def blocks_of_distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Distances]]:
    """Distances of some rows of ``x`` to all of ``y``, until all rows are done.

    Args:
        x: (n, d).
        y: (m, d).

    Yields:
        Slice of the rows, and their distances.
    """
    x, y = (side.to(device_with_double(side.device), torch.float32) for side in (x, y))
    lengths = _squared_lengths(y)
    for start in range(0, len(x), size := max(1, BLOCK // len(y))):
        rows = slice(start, start + size)
        yield rows, Distances(x[rows], y, lengths)


def squared_radii(x: Tensor, neighbours: int) -> Tensor:
    """Squared distance of each vector to its ``neighbours``-th nearest other one, (n,) float32."""
    # The nearest one is the vector itself.
    return torch.cat([some.nearest(neighbours + 1) for _, some in blocks_of_distances(x, x)])


def _squared_lengths(x: Tensor) -> Tensor:
    """Squared lengths (n,) float32 of (n, d), added up in float64."""
    return torch.linalg.vector_norm(x, dim=1, dtype=torch.float64).square().float()


def _squares(x: Tensor, y: Tensor) -> Tensor:
    """Distances (b, m) float32 of (b, d) to (m, d), by one product of float64."""
    x, y = as_double(x), as_double(y)
    sums = x.square().sum(1, keepdim=True) + y.square().sum(1)
    squares = torch.addmm(sums, x, y.mT, alpha=-2)
    # Below this, rounding errors of the sums are all there is.
    return squares.masked_fill_(squares < 1e-13 * sums, 0).float()
