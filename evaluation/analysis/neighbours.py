"""The real images nearest to generated ones: whether a generator copies what it was trained on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.extractors.extractor import Extractor
from saddlepoint.randomness import keyed_generator

#: Vectors that a block of real ones is compared with at once.
QUERIES = 256

#: Told what is going on: a description, images done, and images in all.
Progress = Callable[[str, int, int], None]


class Neighbours(NamedTuple):
    """The nearest real images of n generated ones, in one space.

    Attributes:
        indices: (n, k) int64, positions in the data set, the nearest first.
        distances: (n, k) float64, Euclidean.
        among_reals: (m,) float64, of real images to the nearest other one, sorted.
    """

    indices: Tensor
    distances: Tensor
    among_reals: Tensor

    @property
    def typical(self) -> float:
        """Median distance of a real image to the nearest other one that is no duplicate of it."""
        return float(self.among_reals[self.among_reals > 0].median())

    @property
    def ratios(self) -> Tensor:
        """Distances (n, k) in units of the typical one: near 0 in the first column is a copy."""
        return self.distances / self.typical

    @property
    def shares(self) -> Tensor:
        """Share (n,) of the real images that have another real image at least as near."""
        nearest = self.distances[:, 0].contiguous()
        counts = torch.searchsorted(self.among_reals, nearest, right=True)
        return counts / len(self.among_reals)


class NearestSearch:
    """Exact nearest neighbours among vectors that come in blocks.

    Squared distances are |a|^2 + |b|^2 - 2 ab in float64: without any rounding where the vectors
    are pixels 0 .. 255. Memory is that of the queries, and of one comparison of `QUERIES` of them
    with a block.

    Args:
        queries: (n, ...), flattened to vectors.
        k: neighbours of each.
        own: (n,) int64, position at which each query itself will come, so that it is no neighbour
            of itself; -1 where it will not.
    """

    def __init__(self, queries: Tensor, k: int, own: Tensor | None = None) -> None:
        self.queries = queries.flatten(1)
        count, device = len(queries), queries.device
        self.own = torch.full((count,), -1, device=device) if own is None else own.to(device)
        self.seen = 0
        self._squares = torch.full((count, k), torch.inf, dtype=torch.float64, device=device)
        self.indices = torch.full((count, k), -1, device=device)

    def update(self, block: Tensor) -> None:
        """Compare with the next vectors (b, ...).

        Raises:
            UserError: NaN or infinite values.
        """
        block = block.flatten(1).to(self.queries.device, torch.float64)
        lengths = block.square().sum(1)
        positions = torch.arange(self.seen, self.seen + len(block), device=block.device)
        for start in range(0, len(self.queries), QUERIES):
            part = slice(start, start + QUERIES)
            queries = self.queries[part].double()
            squares = queries.square().sum(1, keepdim=True) + lengths - 2 * queries @ block.mT
            if not torch.isfinite(squares).all():
                raise UserError(
                    "The images' features hold NaN or infinite values, so they have no neighbours:"
                    " look at the images and at the extractor's weights."
                )
            squares = squares.clamp(min=0)
            squares[self.own[part, None] == positions] = torch.inf
            # A stable sort: of equally near ones the earlier is taken, whatever the blocks.
            squares = torch.cat([self._squares[part], squares], dim=1)
            places = torch.cat([self.indices[part], positions.expand(len(queries), -1)], dim=1)
            squares, order = squares.sort(dim=1, stable=True)
            k = self.indices.shape[1]
            self._squares[part] = squares[:, :k]
            self.indices[part] = places.gather(1, order[:, :k])
        self.seen += len(block)

    @property
    def distances(self) -> Tensor:
        """Distances (n, k) float64 so far, the smallest first; infinite where there are too few."""
        return self._squares.sqrt()


@torch.inference_mode()
def nearest_neighbours(
    samples: Tensor,
    data: Any,
    k: int = 5,
    *,
    extractor: Extractor | None = None,
    num_real: int | None = None,
    num_reference: int = 500,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> tuple[Neighbours, Neighbours | None]:
    """Find the nearest real images of generated ones, in one pass over the real images.

    For scale, the distance of real images to their nearest others is measured alongside, on a
    random subset.

    Args:
        samples: (n, c, h, w) uint8.
        data: a data module, see `datamodules.base.DataModule`.
        k: neighbours of each sample.
        extractor: gives a second space, its weights loaded to ``device``; None leaves it out.
        num_real: real images searched, a random choice; None searches all.
        num_reference: size of the subset.
        seed: key of the random choices.
        batch_size: images in a block; moves no result.
        device: where to compute.
        progress: told how far the pass has come.

    Returns:
        Neighbours by pixels, 0 .. 255, and by features; the latter None without an extractor.

    Raises:
        UserError: fewer than k + 1 real images, or all of them equal; features that are not finite.
    """
    searched = _chosen(torch.arange(data.spec.num_items), num_real, seed, "searched")
    if k < 1 or len(searched) <= k:
        raise UserError(
            f"{k} nearest neighbours cannot be told among {len(searched)} images: ask for at least"
            " 1, and fewer than there are images."
        )
    own = _chosen(torch.arange(len(searched)), num_reference, seed, "reference")
    references = torch.cat([x.image for x in data.real_batches(batch_size, searched[own])])
    queries = torch.cat([samples.cpu(), references])
    own = torch.cat([torch.full((len(samples),), -1), own])

    spaces: list[Callable[[Tensor], Tensor]] = [lambda images: images]
    if extractor is not None:
        spaces.append(lambda images: extractor(images).features)
    searches = []
    for vectors in spaces:
        batches = [vectors(part.to(device)) for part in queries.split(batch_size)]
        searches.append(NearestSearch(torch.cat(batches), k, own))
    done = 0
    for items in data.real_batches(batch_size, searched):
        images = items.image
        for vectors, search in zip(spaces, searches, strict=True):
            search.update(vectors(images.to(device)))
        done += len(images)
        if progress is not None:
            progress("real images", done, len(searched))
    found = [_result(search, searched, len(samples)) for search in searches]
    return found[0], found[1] if extractor is not None else None


def _chosen(positions: Tensor, count: int | None, seed: int, purpose: str) -> Tensor:
    """``count`` of the positions, in their order; all where that is None or more."""
    if count is None or count >= len(positions):
        return positions
    order = torch.randperm(len(positions), generator=keyed_generator(seed, "neighbours", purpose))
    return positions[order[:count].sort().values]


def _result(search: NearestSearch, searched: Tensor, num_samples: int) -> Neighbours:
    distances = search.distances.cpu()
    among_reals = distances[num_samples:, 0].sort().values
    if not (among_reals > 0).any():
        raise UserError("All real images are alike, so that none is nearer than another.")
    indices = searched[search.indices[:num_samples].cpu()]
    return Neighbours(indices, distances[:num_samples], among_reals)
