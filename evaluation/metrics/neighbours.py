"""Distances between two sets of features, a block of rows at a time, and nearest neighbours."""

from collections.abc import Iterator

import torch
from torch import Tensor

from saddlepoint.evaluation.metrics.double import as_double

#: Distances that are in memory at a time.
BLOCK = 2**23


def blocks_of_distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Squared Euclidean distances of some rows of ``x`` to all of ``y``, until all rows are done.

    They are computed in float64 and come as float32: what is equal but for the order of a sum
    compares as equal, and a vector is at distance 0 from its duplicates.

    Args:
        x: (n, d).
        y: (m, d).

    Yields:
        Slice of the rows, and (b, m) float32.
    """
    y = as_double(y)
    norms = y.square().sum(1)
    size = max(1, BLOCK // len(y))
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        block = as_double(x[rows])
        sums = block.square().sum(1, keepdim=True) + norms
        squares = torch.addmm(sums, block, y.mT, alpha=-2)
        # Below this, rounding errors of the sums are all there is.
        yield rows, squares.masked_fill_(squares < 1e-13 * sums, 0).float()


def squared_radii(x: Tensor, neighbours: int) -> Tensor:
    """Squared distance of each vector to its ``neighbours``-th nearest other one, (n,) float32."""
    # The nearest one is the vector itself.
    return torch.cat(
        [
            squares.topk(neighbours + 1, largest=False, sorted=True).values[:, -1]
            for _, squares in blocks_of_distances(x, x)
        ]
    )
