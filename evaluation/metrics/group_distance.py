"""Frechet and kernel distances of edits, group by group: each with the real images it should join.

What an edit asks for decides which images it should look like: those of a class, or those with an
attribute. A distance over all outputs at once would also see that no attribute is as frequent among
what is asked for as among the data; so each group has its own, and the mean over groups counts.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.edits import asked_attribute
from saddlepoint.evaluation.frechet import FeatureStatistics, frechet_distance
from saddlepoint.evaluation.metrics.kid import KID, sum_over_pairs, sum_over_products
from saddlepoint.evaluation.metrics.pairs import PairMetric, as_bytes
from saddlepoint.items import Items
from saddlepoint.randomness import keyed_generator
from saddlepoint.records.record import SMALLER
from saddlepoint.schema import Count, checked

BATCH = 256


class GroupDistance(PairMetric):
    """Mean over groups of the distance between outputs and real held-out images, and its floor.

    The floor is the same distance between two halves of the real images. A Frechet distance of few
    images is too large by far, on either side of that comparison; the kernel distance is unbiased,
    and its floor varies around 0.

    Args:
        smallest: images that a group needs on each side, or counts for nothing.
        extractor: name of one of the protocol's ``extractors``; None takes the main one.
    """

    #: What the distances are of.
    prefix: ClassVar[str]
    looks: ClassVar[bool] = True

    @checked
    def __init__(self, smallest: Count = 10, extractor: str | None = None) -> None:
        self.smallest, self.extractor = smallest, extractor
        names = {name: f"{self.prefix}{name}" for name in ("FID", "KID")}
        self._frechet, self._kernel = names.values()
        self.directions = {
            self._frechet: SMALLER,
            f"{self._frechet} floor": None,
            self._kernel: SMALLER,
            f"{self._kernel} floor": None,
        }

    @abstractmethod
    def members(self, items: Items) -> Iterator[tuple[int, Tensor]]:
        """Groups that real items belong to: number and images (n, C, H, W) uint8."""

    @abstractmethod
    def asked(self, output: Tensor, inputs: Items) -> tuple[Tensor, Tensor]:
        """The group (n,) that each output should join, -1 for none, and what is looked at of it."""

    def prepare(self, data: Any, device: torch.device) -> None:
        """Take in the real images that are held out, of all groups."""
        found: dict[int, list[Tensor]] = {}
        for items in (data.held_out or data).real_batches(BATCH):
            for group, images in self.members(items.to(device)):
                if len(images):
                    features = self.network(images).features.double().cpu()
                    found.setdefault(group, []).append(features)
        self._real = {group: torch.cat(parts) for group, parts in found.items()}

    def values(self, output: Tensor, inputs: Items) -> dict[str, Tensor]:
        """The group and the features (n, 1 + d) of each output."""
        group, images = self.asked(as_bytes(output), inputs)
        features = self.network(images).features.double()
        rows = torch.cat([group[:, None].double(), features], dim=1)
        return {self._frechet: rows.where(group[:, None] >= 0, torch.nan)}

    def summary(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """The distances and their floors.

        Raises:
            UserError: no group is large enough.
        """
        rows = values[self._frechet].cpu()
        found: dict[str, list[float]] = {name: [] for name in self.directions}
        for group, real in self._real.items():
            fake = rows[rows[:, 0] == group, 1:]
            if min(len(fake), len(real)) < max(self.smallest, 4):
                continue
            order = torch.randperm(len(real), generator=keyed_generator("halves", group))
            halves = real[order[::2]], real[order[1::2]]
            for name, distance in ((self._frechet, _frechet), (self._kernel, _kernel)):
                found[name].append(distance(fake, real))
                found[f"{name} floor"].append(distance(*halves))
        if not found[self._frechet]:
            raise UserError(
                f"{self.name} finds no group with {self.smallest} images on both sides: score more"
                " images (num_fake), or lower its smallest."
            )
        return {name: sum(each) / len(each) for name, each in found.items()}


class RegionDistance(GroupDistance):
    """Distances of what edited regions show, cut out by their boxes and resized to a whole image.

    Each output joins the real images that have, or lack, the attribute it was asked to be given, or
    to lose.
    """

    name: ClassVar[str] = "region_distance"
    prefix: ClassVar[str] = "region "
    needs = ("image", "attributes", "wanted", "boxes")

    def check(self, data: Any, num_fake: int) -> None:
        """Boxes are needed, and attributes that show in them."""
        spec = data.spec
        shown = [
            next((k for k, names in enumerate(spec.regions.values()) if name in names), -1)
            for name in spec.attributes
        ]
        if all(region < 0 for region in shown):
            raise UserError(
                f"{self.name} compares what regions show and {spec.name} has no regions that show"
                " attributes: leave it out."
            )
        self._region = torch.tensor(shown)

    def members(self, items: Items) -> Iterator[tuple[int, Tensor]]:
        """Two groups for each attribute: 2 j lacks it and 2 j + 1 has it."""
        for region in sorted(set(self._region.tolist()) - {-1}):
            crops = cut_out(items.image, items.boxes[:, region])
            for attribute in (self._region == region).nonzero()[:, 0].tolist():
                has = items.attributes[:, attribute] > 0.5
                yield 2 * attribute, crops[~has]
                yield 2 * attribute + 1, crops[has]

    def asked(self, output: Tensor, inputs: Items) -> tuple[Tensor, Tensor]:
        """By the attribute that is put on, or else taken off."""
        attribute, is_asked = asked_attribute(inputs.attributes, inputs.wanted)
        region = self._region.to(output.device)[attribute]
        rows = torch.arange(len(output), device=output.device)
        crops = cut_out(output, inputs.boxes[rows, region.clamp(min=0)])
        group = 2 * attribute + (inputs.wanted[rows, attribute] > 0.5).long()
        return group.where(is_asked & (region >= 0), -1), crops


class ClassDistance(GroupDistance):
    """Distances of each class's translations to its real images: the mean is known as mFID.

    M.-Y. Liu et al., "Few-Shot Unsupervised Image-to-Image Translation", ICCV 2019, section 4.
    """

    name: ClassVar[str] = "class_distance"
    prefix: ClassVar[str] = "m"
    needs = ("image", "target")

    def check(self, data: Any, num_fake: int) -> None:
        """Classes are needed."""
        if not (data.held_out or data).spec.classes:
            raise UserError(
                f"{self.name} compares class by class and {data.spec.name} has none: leave it out."
            )

    def members(self, items: Items) -> Iterator[tuple[int, Tensor]]:
        """A group for each class."""
        for label in items.label.unique().tolist():
            yield label, items.image[items.label == label]

    def asked(self, output: Tensor, inputs: Items) -> tuple[Tensor, Tensor]:
        """The class asked for, and the whole image."""
        return inputs.target, output


def cut_out(images: Tensor, boxes: Tensor) -> Tensor:
    """Cut boxes (n, 4) out of images (n, C, H, W) uint8 and resize them to H x W, bilinearly."""
    height, width = images.shape[2:]
    left, top, right, bottom = boxes.unbind(1)
    grid = torch.stack(
        torch.broadcast_tensors(
            _places(left, right, width)[:, None, :], _places(top, bottom, height)[:, :, None]
        ),
        dim=-1,
    )
    cut = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return cut.round().clamp(0, 255).to(torch.uint8)


def _places(first: Tensor, last: Tensor, count: int) -> Tensor:
    """Where to look for ``count`` pixels between two edges (n,): (n, count), -1 to 1 in the image.

    Never beyond the centre of the outermost pixel, so that nothing outside the edges mixes in.
    """
    steps = (torch.arange(count, device=first.device) + 0.5) / count
    places = first[:, None] + steps * (last - first)[:, None]
    places = places.clamp(first[:, None] + 0.5, last[:, None] - 0.5)
    return 2 * places / count - 1


def _frechet(one: Tensor, other: Tensor) -> float:
    sides = []
    for features in (one, other):
        sides.append(FeatureStatistics())
        sides[-1].update(features)
    return frechet_distance(*sides)


def _kernel(one: Tensor, other: Tensor) -> float:
    """The unbiased estimate over all images, with the kernel of KID."""
    kernel = KID().kernel
    n, m = len(one), len(other)
    all_of = [torch.ones(1, len(side), dtype=side.dtype) for side in (one, other)]
    within = [sum_over_pairs(kernel, side, all_of[k]) for k, side in enumerate((one, other))]
    between = sum_over_products(kernel, one, all_of[0], other, all_of[1])
    value = within[0] / (n * (n - 1)) + within[1] / (m * (m - 1)) - 2 * between / (n * m)
    return value.item()
