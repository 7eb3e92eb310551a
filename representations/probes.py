"""How much of the labels a representation tells: for reports only, never for training."""

import warnings
from collections.abc import Mapping

import torch
from sklearn.exceptions import ConvergenceWarning
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
    """Share of items whose 20 nearest others, by cosine, have their class by weighted majority.

    Args:
        features: (N, p).
        labels: (N,) or (N, A): the mean over A of them.
    """
    known, told = divided(len(features))
    near = KNeighborsClassifier(min(NEIGHBOURS, len(known)), weights="distance", metric="cosine")
    near.fit(features[known].numpy(), labels[known].numpy())
    found = torch.from_numpy(near.predict(features[told].numpy()))
    return (found == labels[told]).double().mean().item()


def linear_accuracy(features: Tensor, labels: Tensor) -> float:
    """The same of logistic regressions on standardised features."""
    known, told = divided(len(features))
    shares = []
    for column in labels.view(len(labels), -1).unbind(1):
        if len(column[known].unique()) < 2:
            continue  # nothing to tell
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
        with warnings.catch_warnings():
            # Where 200 steps are too few the last digit is at stake.
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(features[known].numpy(), column[known].numpy())
        shares.append(probe.score(features[told].numpy(), column[told].numpy()))
    return sum(shares) / len(shares) if shares else 1.0


def probed(features: Tensor, images: Tensor, labels: Mapping[str, Tensor]) -> dict[str, float]:
    """Accuracies by name, of the features and, for scale, of the pixels.

    Args:
        features: (N, p).
        images: (N, C, H, W).
        labels: {name: classes (N,), or attributes (N, A), of which the mean is reported}.
    """
    report = {}
    for name, each in labels.items():
        report[f"k-NN, {name}"] = knn_accuracy(features, each)
        report[f"linear probe, {name}"] = linear_accuracy(features, each)
        report[f"k-NN of pixels, {name}"] = knn_accuracy(images.flatten(1).float(), each)
    return report
