"""Where the holes of items are: boxes of regions, masks of the data, random rectangles."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.gans.masks import bounds, boxes_around, dilated, ellipses, strokes
from saddlepoint.gans.networks.edits import Edits
from saddlepoint.items import Items
from saddlepoint.schema import Natural, Positive, Share, checked, nearest

STROKES, CORNERS = 3, 4  # of a hole in free form; each stroke joins so many points


class Holes(ABC):
    """Where the holes of items are: a pure function of items, regions and uniform numbers.

    Attributes:
        numbers: uniform numbers that a hole takes.
    """

    numbers: int

    @abstractmethod
    def allowed(self, condition: Edits) -> Tensor:
        """Whether a hole in each region may change each attribute: bool (R, A)."""

    @abstractmethod
    def masks(self, items: Items, region: Tensor, noise: Tensor, *, jitter: bool) -> Tensor:
        """Masks (n, 1, h, w) float32, 1 in the hole, on the device of the images.

        Args:
            items: with ``image``, and what else the holes are taken from.
            region: (n,) int64.
            noise: uniform in [0, 1), (n, numbers).
            jitter: whether holes move and grow at random, as they do in training.
        """

    @abstractmethod
    def largest_side(self, data: Any, condition: Edits) -> float:
        """Of any hole without jitter, in pixels.

        Raises:
            UserError: the items lack what holes are taken from.
        """


class RegionHoles(Holes):
    """The boxes of regions, which every item has as ``boxes``.

    Args:
        regions: names of those that are cut out; None for all that the data have.
        shape: "rect", the "ellipse" inscribed in it, or "free_form", strokes of a brush inside it.
        move: in training the centre moves by up to this share of the box's sides.
        grow: in training the box grows by a factor drawn from this range.
        most: no hole has a longer side, in pixels; None for no bound.
        brush: thickness of strokes, as a share of the box's shorter side.
    """

    numbers = 4 + 2 * STROKES * CORNERS

    @checked
    def __init__(
        self,
        regions: Sequence[str] | None = None,
        shape: Literal["rect", "ellipse", "free_form"] = "rect",
        move: Share = 0.05,
        grow: tuple[Positive, Positive] = (0.95, 1.15),
        most: Positive | None = None,
        brush: Share = 0.4,
    ) -> None:
        self.regions, self.shape, self.brush = regions, shape, brush
        self.move, self.grow, self.most = move, tuple(grow), most

    def allowed(self, condition: Edits) -> Tensor:
        """Those of the data's regions, and nothing in regions that are not cut out.

        Raises:
            UserError: the data have no regions, or none of such a name.
        """
        if not condition.regions:
            raise UserError(
                "Holes in regions need data that say where regions are and which attributes they"
                " show, such as datamodule=portraits: choose such data, or other gan.holes."
            )
        if self.regions is None:
            return condition.allowed
        _check_names(self.regions, condition.regions, "region")
        is_cut = [[name in self.regions] for name in condition.regions]
        return condition.allowed & torch.tensor(is_cut, device=condition.allowed.device)

    def masks(self, items: Items, region: Tensor, noise: Tensor, *, jitter: bool) -> Tensor:
        """See `Holes.masks`."""
        rows = torch.arange(len(region), device=region.device)
        boxes = items.boxes[rows, region].float()
        centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        if jitter:
            low, high = self.grow
            centre = centre + (2 * noise[:, :2] - 1) * self.move * sides
            sides = sides * (low + (high - low) * noise[:, 2:3])
            if self.most is not None:
                sides = sides.clamp(max=self.most)
        if self.shape == "free_form":
            points = noise[:, 4:].unflatten(1, (STROKES, CORNERS, 2)) - 0.5
            points = centre[:, None, None] + points * sides[:, None, None]
            inside = strokes(points, self.brush / 2 * sides.amin(1), items.image.shape[2:])
            return (inside & boxes_around(centre, sides, items.image.shape[2:])).float()
        draw = ellipses if self.shape == "ellipse" else boxes_around
        return draw(centre, sides, items.image.shape[2:]).float()

    def largest_side(self, data: Any, condition: Edits) -> float:
        """The longest side of any box that is cut out, rounded up to whole pixels."""
        is_cut = self.allowed(condition).any(1).cpu()
        boxes = torch.cat([items.boxes[:, is_cut] for items in data.real_batches(1024)]).float()
        return float((boxes[..., 2:].ceil() - boxes[..., :2].floor()).max())


class MaskHoles(Holes):
    """Masks that come with the items, grown on all sides.

    Args:
        field: of the items that holds them, 1 in the hole.
        attributes: names of those that they show; None for all.
        grow: pixels.
    """

    numbers = 1

    @checked
    def __init__(
        self, field: str = "mask", attributes: Sequence[str] | None = None, grow: Natural = 5
    ) -> None:
        self.field, self.attributes, self.grow = field, attributes, grow

    def allowed(self, condition: Edits) -> Tensor:
        """One region, which may change the attributes named.

        Raises:
            UserError: the data have none of such a name.
        """
        shown = condition.names if self.attributes is None else self.attributes
        _check_names(shown, condition.names, "attribute")
        return torch.tensor([[name in shown for name in condition.names]])

    def masks(self, items: Items, region: Tensor, noise: Tensor, *, jitter: bool) -> Tensor:
        """See `Holes.masks`."""
        return dilated(items[self.field].to(items.image), self.grow)

    def largest_side(self, data: Any, condition: Edits) -> float:
        """The longest side of any item's grown mask.

        Raises:
            UserError: the items have no such masks, or they are 1 outside the hole.
        """
        if self.field not in data.spec.fields:
            raise UserError(
                f"The items of {data.spec.name} have no mask {self.field}: choose other gan.holes."
            )
        masks = [items[self.field].float() for items in data.real_batches(256)]
        share = torch.cat([mask.mean((1, 2, 3)) for mask in masks]).mean().item()
        if share > 0.5:
            raise UserError(
                f"The masks {self.field} of {data.spec.name} cover {100 * share:.0f} % of the"
                " images: they have to be 1 in the hole, so turn them over."
            )
        boxes = torch.cat([bounds(dilated(mask, self.grow)) for mask in masks])
        return float((boxes[:, 2:] - boxes[:, :2]).max())


class RandomHoles(Holes):
    """Rectangles anywhere, that change nothing: training to in-paint, and nothing else.

    Args:
        sides: the range of a side, as a share of the image's.
    """

    numbers = 4

    @checked
    def __init__(self, sides: tuple[Share, Share] = (0.25, 0.5)) -> None:
        self.sides = tuple(sides)

    def allowed(self, condition: Edits) -> Tensor:
        """Nothing."""
        return torch.zeros(1, condition.features, dtype=torch.bool)

    def masks(self, items: Items, region: Tensor, noise: Tensor, *, jitter: bool) -> Tensor:
        """See `Holes.masks`; without jitter they are drawn all the same."""
        height, width = items.image.shape[2:]
        size = noise.new_tensor([width, height])
        low, high = self.sides
        sides = ((low + (high - low) * noise[:, :2]) * size).round()
        corner = (noise[:, 2:] * (size - sides)).round()
        return boxes_around(corner + sides / 2, sides, (height, width)).float()

    def largest_side(self, data: Any, condition: Edits) -> float:
        """As they are drawn."""
        return round(self.sides[1] * max(data.spec.shape[1:]))


def _check_names(names: Sequence[str], known: Sequence[str], kind: str) -> None:
    for name in names:
        if name not in known:
            near = nearest(name, known)
            cure = f"did you mean {near}?" if near else f"there are {', '.join(known)}."
            raise UserError(f"gan.holes names the {kind} {name}, which the data lack; {cure}")
