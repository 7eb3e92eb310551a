"""The Frechet distance over the number of samples, and where it leads."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.analysis.sample_size import (
    DistanceBySampleSize,
    distance_by_sample_size,
)
from saddlepoint.evaluation.frechet import FeatureStatistics
from saddlepoint.extractors.extractor import Extractor
from saddlepoint.randomness import keyed_generator
from saddlepoint.runs.panels.panel import BATCH, Panel, Subject
from saddlepoint.runs.pictures import drawn
from saddlepoint.runs.progress import progress

SAMPLES = 5000  # where nothing is said


def sample_size(subject: Subject) -> Panel:
    """The distance over 1 / N, the line through it, and its value at infinitely many samples.

    Raises:
        UserError: there is no extractor, the data are missing or others, or samples are too few.
    """
    config = subject.config
    extractor, why_none = subject.extractor()
    if extractor is None:
        raise UserError(why_none or "what=sample_size needs an extractor: name one.")
    real, features = _both_sides(subject, extractor)
    found = distance_by_sample_size(features, real, points=config.points, seed=config.seed)
    name = extractor.score_name("FID")
    title = f"{subject.data.spec.name}: {name} against {real.count:,} real images"
    note = (
        f"{name} is {found.distances[-1]:.4g} at {found.counts[-1]:,} samples and"
        f" {found.intercept:.4g} at infinitely many (standard error of the line"
        f" {found.intercept_error:.2g})."
    )
    return Panel(drawn(_plot(found, name, title)), (note,))


@torch.inference_mode()
def _both_sides(subject: Subject, extractor: Extractor) -> tuple[FeatureStatistics, Tensor]:
    """Statistics of the real images' features, and features (N, d) of the generated ones."""
    config, total = subject.config, subject.data.spec.num_items
    order = torch.randperm(total, generator=keyed_generator(config.seed, "sample size", "real"))
    chosen = order[: config.num_real or total].sort().values
    count = config.num_fake or SAMPLES
    real, features = FeatureStatistics(subject.device), []
    with progress() as tell:
        for items in subject.data.real_batches(BATCH, chosen):
            real.update(extractor(items.image.to(subject.device)).features)
            tell("real images", real.count, len(chosen))
        for batch in subject.samples(count):
            features.append(extractor(extractor.quantise(batch)).features)
            tell("generated images", len(features) * BATCH, count)
    return real, torch.cat(features)


def _plot(found: DistanceBySampleSize, name: str, title: str) -> Figure:
    figure = Figure(figsize=(7, 4.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    places = [1 / count for count in found.counts]
    line = [found.intercept, found.intercept + found.slope * places[0]]
    axes.plot([0, places[0]], line, color="0.5", lw=1.2, ls="--", zorder=1)
    measured = f"measured: {found.distances[-1]:.4g} at N = {found.counts[-1]:,}"
    axes.scatter(places, found.distances, s=26, color="#1b6ca8", zorder=2, label=measured)
    axes.errorbar(
        [0],
        [found.intercept],
        yerr=[found.intercept_error],
        fmt="D",
        color="#d1491b",
        capsize=3,
        clip_on=False,
        zorder=3,
        label=f"extrapolated: {found.intercept:.4g} (line's error {found.intercept_error:.2g})",
    )
    named = _named_counts(found.counts[0], found.counts[-1])
    axes.set_xticks([0, *(1 / count for count in named)], ["∞", *(f"{n:,}" for n in named)])
    axes.set(xlim=(0, places[0] * 1.05), xlabel="number of samples N (at 1 / N)", ylabel=name)
    axes.set_title(title, fontsize=11)
    axes.grid(color="0.92")
    axes.legend(frameon=False)
    return figure


def _named_counts(fewest: int, most: int) -> list[int]:
    """The largest number of samples, and round ones far enough from it and from each other."""
    named = [most]
    room = 0.08 / fewest
    for digit, power in ((d, p) for p in range(9, -1, -1) for d in (5, 2, 1)):
        count = digit * 10**power
        if fewest <= count <= most and 1 / count - 1 / named[-1] > room:
            named.append(count)
    if 1 / fewest - 1 / named[-1] > room:
        named.append(fewest)
    return named
