"""PICA: the partition whose clusters look least alike is the most confident one.

J. Huang, S. Gong, X. Zhu. "Deep Semantic Clustering by Partition Confidence Maximisation", CVPR
2020. Constants are those of the code, github.com/Raymond-sci/PICA.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.representations.augmentation import Augmentation
from saddlepoint.representations.method import RepresentationMethod
from saddlepoint.schema import NotNegative, Size, checked


class PICA(RepresentationMethod):
    """Soft assignments of images and of their augmented copies agree, cluster by cluster.

    Args:
        clusters: K of each head: an over-clustering one, and the last, which tells the clusters.
        balance: lambda, weight of the entropy that keeps clusters from being empty; small batches
            want less of it, see `imbalance`.
        sobel: whether the encoder sees edges only, as in the paper.
        settings: of `RepresentationMethod`; the paper's encoder is a ResNet-34.
    """

    name: ClassVar[str] = "pica"
    views: ClassVar[int] = 3
    sees_originals: ClassVar[bool] = True
    default_augmentation = partial(Augmentation, hue=0.4, jitter=1.0)
    default_optimizer = partial(torch.optim.Adam, lr=1e-4)

    @checked
    def __init__(
        self,
        *,
        clusters: Sequence[Size] = (70, 10),
        balance: NotNegative = 2.0,
        sobel: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(sobel=sobel, **settings)
        self.clusters, self.balance = tuple(clusters), balance

    def build_heads(self) -> None:
        """A linear layer and a softmax each."""
        self.heads = nn.ModuleList(nn.Linear(self.features, k) for k in self.clusters)

    def loss(self, views: Sequence[Tensor], items: Tensor) -> dict[str, Tensor]:
        """The mean over heads of the confidence of their partition, and of its balance."""
        features = self.encode(torch.cat(list(views))).chunk(len(views))
        original, copies = features[0], torch.cat(features[1:])
        confidence, balance = [], []
        for head in self.heads:
            p = head(original).softmax(1).repeat(len(views) - 1, 1)
            q = head(copies).softmax(1)
            confidence.append(partition_confidence(p, q))
            balance.append(imbalance(p))
        return {
            "confidence": torch.stack(confidence).mean(),
            "balance": self.balance * torch.stack(balance).mean(),
        }

    def partition(self, features: Tensor) -> Tensor:
        """The most probable clusters of the last head."""
        return self.heads[-1](features).argmax(1)


def partition_confidence(p: Tensor, q: Tensor) -> Tensor:
    """Cross-entropy of the rows of M, M_jk = cos(p_:j, q_:k), with target j; at least log(e+K-1)-1.

    Args:
        p: soft assignments (n, K) of images.
        q: those of their augmented copies.
    """
    cosines = F.normalize(p, dim=0).mT @ F.normalize(q, dim=0)  # over the batch; empty columns: 0
    return F.cross_entropy(cosines, torch.arange(len(cosines), device=p.device))


def imbalance(p: Tensor) -> Tensor:
    """Log K - H(mean of p over the batch): 0 for equal clusters, log K for a single one.

    Certain assignments to equal clusters still cost about (K - 1) / 2n in a batch of n, by the
    chance of the draw; soft ones cost less.

    Args:
        p: soft assignments (n, K).
    """
    mean = p.mean(0)
    return math.log(len(mean)) + torch.special.xlogy(mean, mean).sum()
