"""Sides of a comparison made by hand, for tests of metrics; imports nothing slow."""

from types import SimpleNamespace

import torch

from saddlepoint.evaluation.metrics.metric import Batch
from saddlepoint.evaluation.named import metrics_of
from saddlepoint.randomness import keyed_generator

CPU = torch.device("cpu")
CLASSES = ("round", "square", "flat")
DATA = SimpleNamespace(spec=SimpleNamespace(name="shapes", classes=CLASSES))


def side(count, seed, shift=0.0, dimensions=10):
    """Features that are rarely negative, as a network's are, with logits and labels."""
    generator = keyed_generator("side", seed)
    features = torch.randn(count, dimensions, generator=generator) / 2 + 1 + shift
    logits = 3 * torch.randn(count, 12, generator=generator)
    return Batch(features, logits, torch.arange(count) % len(CLASSES), 0)


def of_features(features):
    """A side with these features (N, d) and nothing else of note."""
    features = torch.as_tensor(features, dtype=torch.float32)
    return Batch(features, torch.zeros(len(features), 2), torch.zeros(len(features)).long(), 0)


def named_metric(name, **options):
    """A metric by the name of its file under conf/score."""
    return metrics_of({name: options})[name]


def all_metrics():
    """One of each, for some 60 images of `side`."""
    options = {"kid": {"subsets": 5, "subset_size": 20}, "inception_score": {"splits": 4}}
    names = ("fid", "intra_fid", "inception_score", "kid", "precision_recall", "density_coverage")
    metrics = [named_metric(name, **options.get(name, {})) for name in names]
    for each in metrics:
        each.check(DATA, 60, 60)
    return metrics


def collected(new_collectors, images, size=1000, positions=None):
    """Full collectors of one side.

    Args:
        new_collectors: `Metric.of_reals` or `Metric.of_fakes`.
        images: a `Batch` of all images of the side.
        size: images in a batch.
        positions: those that come to this rank; None if there is only one.
    """
    collectors = new_collectors(len(images.features), CPU)
    positions = positions or range(len(images.features))
    for start in range(positions.start, positions.stop, size):
        rows = slice(start, min(start + size, positions.stop))
        batch = Batch(images.features[rows], images.logits[rows], images.labels[rows], start)
        for collector in collectors.values():
            collector.update(batch)
    return collectors


def scores(metric, real, fake, size=1000):
    """All that a metric says of two sides."""
    metric.check(DATA, len(real.features), len(fake.features))
    return metric.compute(
        collected(metric.of_reals, real, size), collected(metric.of_fakes, fake, size)
    )
