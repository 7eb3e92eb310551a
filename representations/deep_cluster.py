"""DeepCluster: learn to tell the clusters of one's own features, and cluster anew in every epoch.

M. Caron, P. Bojanowski, A. Joulin, M. Douze. "Deep Clustering for Unsupervised Learning of Visual
Features", ECCV 2018, arXiv 1807.05520. Constants are those of the code,
github.com/facebookresearch/deepcluster.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.randomness import key_to_seed, keyed_generator
from saddlepoint.representations.augmentation import Augmentation
from saddlepoint.representations.clustering import k_means
from saddlepoint.representations.method import Features, RepresentationMethod
from saddlepoint.representations.processing import Processing
from saddlepoint.schema import Count, Size, checked


class DeepCluster(RepresentationMethod):
    """PCA with whitening, k-means, a fresh linear head, an epoch of cross-entropy; and again.

    Args:
        clusters: k; 10,000 on ImageNet in the paper.
        dim: of the PCA.
        sobel: whether the encoder sees edges only, as in the paper.
        settings: of `RepresentationMethod`; the paper's encoder is an AlexNet or a VGG-16.
    """

    name: ClassVar[str] = "deep_cluster"
    default_augmentation = partial(Augmentation, jitter=0.0, grey=0.0)
    default_optimizer = partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=1e-5)

    @checked
    def __init__(
        self, *, clusters: Count = 100, dim: Size = 256, sobel: bool = True, **settings: Any
    ) -> None:
        super().__init__(sobel=sobel, **settings)
        self.clusters, self.dim = clusters, dim

    def build_heads(self) -> None:
        """A linear classifier of the clusters."""
        self.head = nn.Linear(self.features, self.clusters)

    def begin_epoch(self, epoch: int, seed: int, features: Features) -> list[nn.Parameter]:
        """Cluster the features, and let the head begin anew."""
        vectors = features()
        vectors = Processing.fitted(vectors, self.dim, whiten=True)(vectors)
        key = key_to_seed(seed, "clusters", epoch)
        self.assignment = k_means(vectors, self.clusters, key, restarts=1).ids
        weight = torch.randn(self.head.weight.shape, generator=keyed_generator(seed, "head", epoch))
        with torch.no_grad():
            self.head.weight.copy_(0.01 * weight)
            self.head.bias.zero_()
        return list(self.head.parameters())

    def order(self, epoch: int, seed: int, count: int) -> Tensor:
        """As many draws as there are images, each cluster being as probable as the others."""
        sizes = self.assignment.bincount(minlength=self.clusters)
        chances = 1.0 / sizes[self.assignment]
        generator = keyed_generator(seed, "order", epoch)
        return torch.multinomial(chances, count, replacement=True, generator=generator)

    def loss(self, views: Sequence[Tensor], items: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of the clusters."""
        (images,) = views
        clusters = self.assignment[items].to(images.device)
        return {"clusters": F.cross_entropy(self.head(self.encode(images)), clusters)}
