"""How much of the labels a representation tells: for reports only, never for training."""

from collections.abc import Mapping

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from saddlepoint.randomness import keyed_generator

NEIGHBOURS = 20
#: Images of each side at most: a report takes no longer than the training before it.
LEARNED, TOLD = 20_000, 5_000


def divided(count: int, share: float = 0.1) -> tuple[Tensor, Tensor]:
    """Items to learn from and items to tell, the same for every representation of a data set."""
    order = torch.randperm(count, generator=keyed_generator("probe"))
    told = min(max(round(share * count), 1), TOLD)
    return order[told:][:LEARNED], order[:told]


def knn_accuracy(features: Tensor, labels: Tensor) -> float:
    """Share of items whose 20 nearest others, by cosine, have their class by majority.

    Args:
        features: (N, p).
        labels: (N,).
    """
    known, told = divided(len(features))
    near = KNeighborsClassifier(min(NEIGHBOURS, len(known)), weights="distance", metric="cosine")
    near.fit(features[known].numpy(), labels[known].numpy())
    return float(near.score(features[told].numpy(), labels[told].numpy()))


def linear_accuracy(features: Tensor, labels: Tensor) -> float:
    """The same of a logistic regression on standardised features (N, p)."""
    known, told = divided(len(features))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    probe.fit(features[known].numpy(), labels[known].numpy())
    return float(probe.score(features[told].numpy(), labels[told].numpy()))


def probed(features: Tensor, images: Tensor, labels: Mapping[str, Tensor]) -> dict[str, float]:
    """Accuracies by name, of the features and, for scale, of the pixels.

    Args:
        features: (N, p).
        images: (N, C, H, W).
        labels: {name: (N,) classes}, or (N, A) attributes, of which the mean is reported.
    """
    report = {}
    for name, each in labels.items():
        columns = each.unbind(1) if each.ndim == 2 else [each]
        columns = [column for column in columns if len(column.unique()) > 1]
        for what, vectors, accuracy in (
            ("k-NN", features, knn_accuracy),
            ("linear probe", features, linear_accuracy),
            ("k-NN of pixels", images.flatten(1).float(), knn_accuracy),
        ):
            if columns:
                told = [accuracy(vectors, column) for column in columns]
                report[f"{what}, {name}"] = sum(told) / len(told)
    return report
