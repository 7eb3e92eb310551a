"""Samples beside the training images nearest to them."""

import torch
from torch import Tensor

from saddlepoint.datamodules.pixels import to_uint8
from saddlepoint.errors import UserError
from saddlepoint.evaluation.analysis.neighbours import Neighbours, nearest_neighbours
from saddlepoint.runs.panels.panel import Panel, Subject
from saddlepoint.runs.pictures import side_by_side
from saddlepoint.runs.progress import progress

SAMPLES = 500  # measured where nothing is said
REFERENCES = 500  # real images whose own neighbours give the scale


def neighbours(subject: Subject) -> Panel:
    """One row a sample: itself, its nearest training images by pixels, and by features.

    Below each stands its distance, in units of the typical distance of a training image to its
    nearest other one. ``closest=true`` shows those of all samples measured that come closest.

    Raises:
        UserError: the run has no images, or its data are missing or others.
    """
    config = subject.config
    if not subject.has_images:
        raise UserError("what=neighbours needs a run on images, and this one has points.")
    if min(config.rows, config.neighbours) < 1:
        raise UserError("A picture of neighbours needs rows and neighbours of at least 1.")
    count = max(config.num_fake or SAMPLES, config.rows)
    extractor, why_none = subject.extractor()
    samples = torch.cat([to_uint8(batch).cpu() for batch in subject.samples(count)])
    with progress() as tell:
        by_pixels, by_features = nearest_neighbours(
            samples,
            subject.data,
            config.neighbours,
            extractor=extractor,
            num_real=config.num_real,
            num_reference=REFERENCES,
            seed=config.seed,
            device=subject.device,
            progress=tell,
        )
    found = {"pixels": by_pixels}
    if by_features is not None:
        found |= {f"features of {extractor.name}": by_features}
    shown = torch.arange(config.rows)
    if config.closest:
        nearest = torch.stack([space.ratios[:, 0] for space in found.values()]).amin(0)
        shown = nearest.argsort(stable=True)[: config.rows]

    spec = subject.data.spec
    searched = min(config.num_real or spec.num_items, spec.num_items)
    all_of_them = "all" if searched == spec.num_items else f"{searched:,} of"
    caption = (
        f"Among {all_of_them} {spec.num_items:,} images of {spec.name}. Distances in units of that"
        " between a typical training image and its nearest other one; a copy is near 0."
    )
    blocks = [("sample", samples[shown][:, None], [[f"no. {i}"] for i in shown.tolist()])]
    for name, space in found.items():
        images = torch.cat([x.image for x in subject.data.real_batches(256, _flat(space, shown))])
        numbers = [[f"{ratio:.2f}" for ratio in row] for row in space.ratios[shown].tolist()]
        heading = f"nearest by {name}"
        blocks.append((heading, images.unflatten(0, (-1, config.neighbours)), numbers))
    notes = [_summary(name, space) for name, space in found.items()]
    return Panel(side_by_side(blocks, caption), (*notes, why_none) if why_none else tuple(notes))


def _flat(space: Neighbours, shown: Tensor) -> Tensor:
    return space.indices[shown].flatten()


def _summary(name: str, space: Neighbours) -> str:
    ratios = space.ratios[:, 0]
    closest = int(ratios.argmin())
    return (
        f"{name}: a sample is {ratios.median():.2f} times (median of {len(ratios):,}) as far from"
        f" the nearest training image as a typical training image ({space.typical:.4g}) from its"
        f" nearest other one; the closest is no. {closest} at {ratios[closest]:.2f}, and"
        f" {100 * space.shares[closest]:.1f} % of training images have another one as near."
    )
