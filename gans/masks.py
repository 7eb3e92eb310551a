"""Masks (n, 1, h, w) that are 1 in a hole: shapes, bounds, and windows around them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def _pixels(size: Sequence[int], device: torch.device) -> Tensor:
    """Centres (h, w, 2) of pixels, x and y, counted from the image's corner."""
    y, x = (torch.arange(side, device=device) + 0.5 for side in size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def rectangles(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Bool (n, 1, h, w): pixels whose centres lie in boxes (n, 4), left, top, right, bottom."""
    pixels, boxes = _pixels(size, boxes.device), boxes[:, None, None]
    return ((pixels >= boxes[..., :2]) & (pixels < boxes[..., 2:])).all(-1)[:, None]


def boxes_around(centre: Tensor, sides: Tensor, size: Sequence[int]) -> Tensor:
    """The same for boxes of centres and sides (n, 2)."""
    return rectangles(torch.cat([centre - sides / 2, centre + sides / 2], dim=1), size)


def ellipses(centre: Tensor, sides: Tensor, size: Sequence[int]) -> Tensor:
    """Bool (n, 1, h, w): ellipses inscribed in boxes of centres and sides (n, 2)."""
    offset = _pixels(size, centre.device) - centre[:, None, None]
    return ((2 * offset / sides[:, None, None]).square().sum(-1) <= 1)[:, None]


def strokes(points: Tensor, radius: Tensor, size: Sequence[int]) -> Tensor:
    """Bool (n, 1, h, w): within a radius (n,) of lines that join points (n, strokes, k, 2)."""
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
