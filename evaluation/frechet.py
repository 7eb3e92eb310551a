"""The Frechet distance between two sets of features.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
NeurIPS 2017, arXiv 1706.08500, eq. 6: for Gaussians with the means and covariances of the sets,

    d^2 = |m_a - m_b|^2 + tr A + tr B - 2 tr (A^(1/2) B A^(1/2))^(1/2).
"""

import math

import torch
import torch.distributed
from torch import Tensor

from saddlepoint.errors import UserError


class FeatureStatistics:
    """Number, mean and covariance of feature vectors, streamed in float64.

    As long as the vectors do not outnumber their dimensions they are kept themselves: they are then
    a root of the covariance, smaller and more exact than any computed one. Beyond that only the
    moments are kept, so memory never exceeds a few (d, d) matrices.

    Args:
        device: where to accumulate; the CPU stands in for devices without float64.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        device = torch.device(device)
        self.device = torch.device("cpu") if device.type == "mps" else device
        self.count = 0
        self._vectors: list[Tensor] = []
        self._moments: tuple[Tensor, Tensor] | None = None  # mean (d,), scatter about it (d, d)
        self._root: Tensor | None = None
        self.root_is_triangular = False

    @classmethod
    def from_moments(cls, count: int, mean: Tensor, covariance: Tensor) -> "FeatureStatistics":
        """Statistics of ``count`` vectors with this mean (d,) and covariance (d, d)."""
        statistics = cls(mean.device)
        statistics.count = int(count)
        scatter = statistics._own(covariance) * (statistics.count - 1)
        statistics._moments = (statistics._own(mean).clone(), scatter)
        return statistics

    def update(self, features: Tensor) -> None:
        """Add feature vectors (n, d); does not wait for the device.

        NaN and infinite features are kept as such: `frechet_distance` refuses them.
        """
        features = self._own(features)
        count, dimensions = features.shape
        if self._moments is None and self.count + count <= dimensions:
            self._vectors.append(features.clone())
            self._root = None
            self.count += count
        else:
            self._add_moments(count, *_moments(features))

    def merge(self, other: "FeatureStatistics") -> None:
        """Add the vectors that ``other`` has seen."""
        if other._moments is None:
            if other.count:
                self.update(torch.cat(other._vectors))
        else:
            self._add_moments(other.count, *map(self._own, other._moments))

    def merge_ranks(self) -> None:
        """Add the vectors of all ranks, where there are several; every rank gets the same sums."""
        if not torch.distributed.is_available() or not torch.distributed.is_initialized():
            return
        own_mean, own_scatter = self.moments
        count = torch.tensor(self.count, device=self.device)
        mean = own_mean * self.count
        torch.distributed.all_reduce(count)
        torch.distributed.all_reduce(mean)
        mean /= count
        shift = own_mean - mean
        scatter = own_scatter + self.count * torch.outer(shift, shift)
        torch.distributed.all_reduce(scatter)
        self.count, self._vectors, self._moments = int(count), [], (mean, scatter)
        self._root = None

    @property
    def dimensions(self) -> int:
        """Length of a feature vector."""
        return self._vectors[0].shape[1] if self._moments is None else self._moments[0].numel()

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (d,) and scatter about it (d, d), the covariance times n - 1."""
        return _moments(torch.cat(self._vectors)) if self._moments is None else self._moments

    @property
    def mean(self) -> Tensor:
        """Sample mean (d,)."""
        return torch.cat(self._vectors).mean(0) if self._moments is None else self._moments[0]

    @property
    def covariance(self) -> Tensor:
        """Sample covariance (d, d), divisor n - 1."""
        return self.moments[1] / (self.count - 1)

    @property
    def trace(self) -> Tensor:
        """Trace of the covariance."""
        if self._moments is None:
            return self.root.square().sum()
        return self._moments[1].trace() / (self.count - 1)

    @property
    def is_low_rank(self) -> bool:
        """Whether the covariance is singular because there are too few vectors."""
        return self.count <= self.dimensions

    @property
    def root(self) -> Tensor:
        """A matrix F (k, d) with F^T F = covariance, k <= d; computed once and kept."""
        if self._root is None:
            self._root = self._compute_root()
        return self._root

    def state(self) -> dict[str, Tensor]:
        """Everything, as plain tensors."""
        count = torch.tensor(self.count)
        if self._moments is None:
            return {"count": count, "vectors": torch.cat(self._vectors)}
        return {"count": count, "mean": self._moments[0], "scatter": self._moments[1]}

    @classmethod
    def from_state(
        cls, state: dict[str, Tensor], device: torch.device | str = "cpu"
    ) -> "FeatureStatistics":
        """Statistics whose `state` this was, on ``device``."""
        statistics = cls(device)
        statistics.count = int(state["count"])
        if "vectors" in state:
            statistics._vectors = [statistics._own(state["vectors"])]
        else:
            statistics._moments = tuple(
                statistics._own(state[name]) for name in ("mean", "scatter")
            )
        return statistics

    def _own(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to(self.device).to(torch.float64)

    def _add_moments(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        """Chan et al., "Updating Formulae and a Pairwise Algorithm for Sample Variances", 1979."""
        if self.count:
            own_mean, own_scatter = self.moments
            shift = mean - own_mean
            total = self.count + count
            weight = self.count * count / total
            scatter = own_scatter + scatter + weight * torch.outer(shift, shift)
            mean = own_mean + shift * (count / total)
        self.count += count
        self._vectors, self._moments, self._root = [], (mean, scatter), None

    def _compute_root(self) -> Tensor:
        self.root_is_triangular = False
        if self._moments is None:
            # n vectors about their mean have rank n - 1: a reflection that takes (1, ..., 1) to the
            # first axis leaves their products as they are and makes the first row 0.
            centred = torch.cat(self._vectors) - self.mean
            rows = centred[1:] - centred[0] / (math.sqrt(self.count) + 1)
            return rows / math.sqrt(self.count - 1)
        if not self.is_low_rank:
            # Any root will do, and Cholesky's is by far the cheapest.
            lower, failed = torch.linalg.cholesky_ex(self.covariance)
            if not failed:
                self.root_is_triangular = True
                return lower.mT
        values, vectors = torch.linalg.eigh(self.covariance)
        rank = min(self.count - 1, self.dimensions)
        return values[-rank:].clamp(min=0).sqrt()[:, None] * vectors[:, -rank:].mT


def frechet_distance(
    a: FeatureStatistics,
    b: FeatureStatistics,
    sides: tuple[str, str] = ("real", "generated"),
) -> float:
    """Squared Frechet distance between Gaussians with the moments of ``a`` and ``b``, >= 0.

    With a root A = F^T F, the eigenvalues of A B are those of the symmetric F B F^T, whose square
    roots are summed. The root of ``a`` is kept for the next distance; the covariances may be
    singular.

    Args:
        a: one side; put the one that stays the same, the real images, here.
        b: the other side.
        sides: their names, for messages.

    Raises:
        UserError: fewer than two vectors on a side, or NaN or infinite features.
    """
    for statistics, side in zip((a, b), sides, strict=True):
        _check(statistics, side)
    shift = a.mean - b.mean.to(a.device)
    squares = shift @ shift + a.trace + b.trace.to(a.device)
    distance = float(squares - 2 * _trace_of_root_of_product(a, b))
    if not math.isfinite(distance):
        raise UserError(
            f"The Frechet distance overflows: the {sides[0]} or {sides[1]} features are too large."
        )
    return max(distance, 0.0)  # rounding may lead just below


def _trace_of_root_of_product(a: FeatureStatistics, b: FeatureStatistics) -> Tensor:
    """Trace of (A B)^(1/2), from a symmetric matrix no larger than the smaller of the ranks.

    Eigenvalues that are 0 only for want of vectors never appear: their rounding errors, under the
    square root, would be the largest of all.
    """
    if a.is_low_rank and b.is_low_rank:
        product = a.root @ b.root.to(a.device).mT
        product = product @ product.mT if a.count <= b.count else product.mT @ product
    else:
        if b.is_low_rank:
            a, b = b, a
        root, scatter = a.root, b.moments[1].to(a.device)
        if a.root_is_triangular:
            product = _lower_half_of_congruence(root, scatter)
        else:
            product = root @ scatter @ root.mT
        product /= b.count - 1
    return torch.linalg.eigvalsh(product, UPLO="L").clamp(min=0).sqrt().sum()


def _lower_half_of_congruence(upper: Tensor, symmetric: Tensor, block: int = 256) -> Tensor:
    """Lower half of U S U^T for an upper triangular U, without the products that are zero."""
    product, result = torch.empty_like(symmetric), torch.zeros_like(symmetric)
    starts = range(0, len(upper), block)
    for k in starts:
        product[k : k + block] = upper[k : k + block, k:] @ symmetric[k:]
    for k in starts:
        result[k:, k : k + block] = product[k:, k:] @ upper[k : k + block, k:].mT
    return result


def _check(statistics: FeatureStatistics, side: str) -> None:
    if statistics.count < 2:
        raise UserError(
            f"A Frechet distance needs at least 2 {side} images and there"
            f" {'is' if statistics.count == 1 else 'are'} {statistics.count}: give more."
        )
    if not torch.isfinite(statistics.mean).all() or not torch.isfinite(statistics.trace):
        raise UserError(
            f"The {side} features hold NaN or infinite values, so there is no Frechet distance:"
            f" look at the {side} images and at the extractor's weights."
        )


def _moments(vectors: Tensor) -> tuple[Tensor, Tensor]:
    mean = vectors.mean(0)
    centred = vectors - mean
    return mean, centred.mT @ centred
