"""Holes in images: where they are, as masks that are 1 in the hole; and windows around them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saddlepoint.errors import UserError
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
            inside = _strokes(points, self.brush / 2 * sides.amin(1), items.image.shape[2:])
            return (inside & _rectangles(centre, sides, items.image.shape[2:])).float()
        draw = _ellipses if self.shape == "ellipse" else _rectangles
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
        return _rectangles(corner + sides / 2, sides, (height, width)).float()

    def largest_side(self, data: Any, condition: Edits) -> float:
        """As they are drawn."""
        return round(self.sides[1] * max(data.spec.shape[1:]))


def _check_names(names: Sequence[str], known: Sequence[str], kind: str) -> None:
    for name in names:
        if name not in known:
            near = nearest(name, known)
            cure = f"did you mean {near}?" if near else f"there are {', '.join(known)}."
            raise UserError(f"gan.holes names the {kind} {name}, which the data lack; {cure}")


def _pixels(size: tuple[int, int], device: torch.device) -> Tensor:
    """Centres (h, w, 2) of pixels, x and y, counted from the image's corner."""
    y, x = (torch.arange(side, device=device) + 0.5 for side in size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def rectangles(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Bool (n, 1, h, w): pixels whose centres lie in boxes (n, 4), left, top, right, bottom."""
    pixels, boxes = _pixels(size, boxes.device), boxes[:, None, None]
    return ((pixels >= boxes[..., :2]) & (pixels < boxes[..., 2:])).all(-1)[:, None]


def _rectangles(centre: Tensor, sides: Tensor, size: tuple[int, int]) -> Tensor:
    """The same for boxes of these centres and sides (n, 2)."""
    return rectangles(torch.cat([centre - sides / 2, centre + sides / 2], dim=1), size)


def _ellipses(centre: Tensor, sides: Tensor, size: tuple[int, int]) -> Tensor:
    """The same for the ellipses inscribed in them."""
    offset = _pixels(size, centre.device) - centre[:, None, None]
    return ((2 * offset / sides[:, None, None]).square().sum(-1) <= 1)[:, None]


def _strokes(points: Tensor, radius: Tensor, size: tuple[int, int]) -> Tensor:
    """The same for pixels within a radius (n,) of lines that join points (n, strokes, k, 2)."""
    starts, ends = points[:, :, :-1].flatten(1, 2), points[:, :, 1:].flatten(1, 2)
    along = (ends - starts)[:, :, None, None]
    offset = _pixels(size, points.device) - starts[:, :, None, None]
    length = along.square().sum(-1).clamp(min=1e-12)
    share = ((offset * along).sum(-1) / length).clamp(0, 1)[..., None]
    distance = (offset - share * along).square().sum(-1).amin(1).sqrt()
    return (distance <= radius[:, None, None])[:, None]


def dilated(mask: Tensor, pixels: int) -> Tensor:
    """Masks (n, 1, h, w) grown by some pixels on all sides, corners too."""
    return F.max_pool2d(mask, 2 * pixels + 1, stride=1, padding=pixels) if pixels else mask


def bounds(mask: Tensor) -> Tensor:
    """The smallest boxes (n, 4) int64, left, top, right, bottom edge, that hold masks (n, 1, h, w).

    Of an empty mask, the image's centre.
    """
    edges = []
    for axis in (2, 3):  # pooled over rows: columns, and the other way round
        there = mask[:, 0].amax(axis - 1) > 0.5
        side = there.shape[1]
        numbers = torch.arange(side, device=mask.device)
        first = torch.where(there, numbers, side).amin(1)
        last = torch.where(there, numbers + 1, 0).amax(1)
        empty = ~there.any(1)
        edges.append([torch.where(empty, side // 2, edge) for edge in (first, last)])
    (left, right), (top, bottom) = edges
    return torch.stack([left, top, right, bottom], dim=1)


def windows(mask: Tensor, side: int) -> Tensor:
    """Upper left corners (n, 2) int64, x and y, of squares around the holes, inside the image."""
    left, top, right, bottom = bounds(mask).unbind(1)
    height, width = mask.shape[2:]
    x = ((left + right - side) // 2).clamp(0, width - side)
    y = ((top + bottom - side) // 2).clamp(0, height - side)
    return torch.stack([x, y], dim=1)


def crop(images: Tensor, corners: Tensor, side: int) -> Tensor:
    """Squares (n, c, side, side) of images (n, c, h, w), from corners (n, 2), x and y."""
    steps = torch.arange(side, device=images.device)
    columns, rows = (corners[:, :, None] + steps).unbind(1)
    images = images.permute(0, 2, 3, 1)  # so that one index takes all channels of a pixel
    number = torch.arange(len(images), device=images.device)[:, None, None]
    return images[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
