"""k-means by scikit-learn, and clusterings that are compared."""

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits
from torch import Tensor

from saddlepoint.errors import UserError


class Clustering(NamedTuple):
    """Clusters of N vectors.

    Attributes:
        ids: (N,) int64, the nearest of the centres.
        centres: (K, d) float32.
    """

    ids: Tensor
    centres: Tensor


def k_means(
    vectors: Tensor,
    k: int,
    seed: int,
    *,
    restarts: int = 10,
    centres: Tensor | None = None,
    iterations: int = 100,
) -> Clustering:
    """Mini-batch k-means from the best of some k-means++ starts, then Lloyd's iterations on all.

    An empty cluster is put where the vector farthest from its centre lies (scikit-learn does so in
    Lloyd's iterations). The result is the same for any number of threads.

    Args:
        vectors: (N, d).
        k: clusters.
        seed: key of all that is drawn.
        restarts: of which the best start is taken.
        centres: (K, d) to start from instead.
        iterations: of Lloyd's, at most.

    Raises:
        UserError: fewer vectors than clusters.
    """
    if len(vectors) < k:
        raise UserError(f"{len(vectors)} images do not make {k} clusters: ask for fewer clusters.")
    points = vectors.double().numpy()
    with threadpool_limits(limits=1):
        if centres is None:
            start = MiniBatchKMeans(
                k, init="k-means++", n_init=restarts, batch_size=1024, random_state=seed % 2**32
            )
            centres = torch.from_numpy(start.fit(points).cluster_centers_)
        lloyd = KMeans(k, init=centres.double().numpy(), n_init=1, max_iter=iterations)
        lloyd.fit(points)
    ids = torch.from_numpy(lloyd.labels_).long()
    return Clustering(ids, torch.from_numpy(lloyd.cluster_centers_).float())


def nearest(vectors: Tensor, count: int, to: Tensor | None = None) -> Tensor:
    """Positions (n, count) of the vectors nearest to each query, itself among them; int64.

    Args:
        vectors: (N, d).
        count: how many; all there are, if these are fewer.
        to: queries (n, d); None are the vectors themselves.
    """
    search = NearestNeighbors(n_neighbors=min(count, len(vectors)), algorithm="brute")
    search.fit(vectors.numpy())
    queries = vectors if to is None else to
    return torch.from_numpy(search.kneighbors(queries.numpy(), return_distance=False)).long()


def agreement(truth: Tensor, ids: Tensor) -> dict[str, float]:
    """NMI (arithmetic mean of the entropies), ACC under the best matching, and ARI.

    Args:
        truth: classes (N,).
        ids: clusters (N,).
    """
    truth, ids = truth.numpy(), ids.numpy()
    table = contingency_matrix(truth, ids)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return {
        "NMI": float(normalized_mutual_info_score(truth, ids)),
        "ACC": float(table[rows, columns].sum() / len(ids)),
        "ARI": float(adjusted_rand_score(truth, ids)),
    }


def matching(before: Tensor, now: Tensor, k: int) -> Tensor:
    """The old name (k,) of each new cluster, so that most items keep theirs (Hungarian method).

    Args:
        before: ids (N,) of the items.
        now: ids (N,) of a new clustering of the same items.
        k: clusters of both.
    """
    table = torch.bincount(now * k + before, minlength=k * k).view(k, k)
    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    names = torch.empty(k, dtype=torch.int64)
    names[torch.from_numpy(rows)] = torch.from_numpy(columns)
    return names
