"""Image transformations that keep the shape, and lists of them: the policies of DAG.

All are differentiable. Images are (n, c, h, w) of any h and w; what a transformation uncovers is 0,
the middle of [-1, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.losses.rotation import rotate
from saddlepoint.randomness import Draws

#: Sides of a crop, largest shift of a translation, sides of a cutout: shares of the image's sides.
CROP, SHIFT, CUTOUT = 0.75, 0.125, 0.5


@dataclass(frozen=True)
class Transformation:
    """Images to images of the same shape.

    Attributes:
        name: what views of the images are called by; two of one name do the same.
        function: maps images (n, c, h, w), and the draws of this update if it is random.
        is_random: whether every image gets random parameters of its own.
    """

    name: str
    function: Callable[..., Tensor]
    is_random: bool = False

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Transform images (n, c, h, w)."""
        return self.function(images, draws) if self.is_random else self.function(images)

    def view(self, side: str) -> str:
        """Name of the view of a side, ``"real"`` or ``"fake"``; the identity's is the side's."""
        return f"{side} {self.name}".rstrip()


# Rotations and flips are invertible: the game on transformed images has the same optimum ----------


def quarter_turns(images: Tensor, quarters: int) -> Tensor:
    """Turn square images counter-clockwise by ``quarters`` of 90 degrees, exactly.

    Raises:
        UserError: images are not square.
    """
    if images.shape[-1] != images.shape[-2]:
        raise UserError(
            f"Rotations need square images, and these have shape {tuple(images.shape[1:])}: choose"
            " another policy, such as flipping, or crop the images to squares."
        )
    return rotate(images, quarters)


IDENTITY = Transformation("", lambda images: images)
ROTATE_90 = Transformation("rotated by 90", partial(quarter_turns, quarters=1))
ROTATE_180 = Transformation("rotated by 180", partial(torch.flip, dims=(-2, -1)))
ROTATE_270 = Transformation("rotated by 270", partial(quarter_turns, quarters=3))
FLIP_HEIGHT = Transformation("upside down", partial(torch.flip, dims=(-2,)))
FLIP_WIDTH = Transformation("mirrored", partial(torch.flip, dims=(-1,)))


# Crops, translations and cutouts lose pixels ------------------------------------------------------


def crop(images: Tensor, bottom: bool, right: bool, mode: str = "nearest") -> Tensor:
    """Cut a corner of int(0.75 h) x int(0.75 w) pixels out of images and resize it to h x w.

    Args:
        images: (n, c, h, w).
        bottom: a bottom corner, else a top one.
        right: a right corner, else a left one.
        mode: "nearest", or "bilinear" with aligned corners.
    """
    height, width = images.shape[-2:]
    crop_height, crop_width = int(CROP * height), int(CROP * width)
    top, left = bottom * (height - crop_height), right * (width - crop_width)
    corner = images[..., top : top + crop_height, left : left + crop_width]
    aligned = True if mode == "bilinear" else None
    return F.interpolate(corner, (height, width), mode=mode, align_corners=aligned)


def crops(mode: str) -> tuple[Transformation, ...]:
    """Crops of the four corners, top left first, resized as ``mode`` says."""
    return tuple(
        Transformation(
            f"cropped to the {('top', 'bottom')[bottom]} {('left', 'right')[right]}, {mode}",
            partial(crop, bottom=bottom, right=right, mode=mode),
        )
        for bottom in (False, True)
        for right in (False, True)
    )


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Move image i of (n, c, h, w) by ``down[i]`` and ``right[i]`` pixels; zeros move in."""
    rows = _offsets(images.shape[-2], down)[:, None, :, None]
    columns = _offsets(images.shape[-1], right)[:, None, None, :]
    height, width = images.shape[-2:]
    # Round the border, then cover what came round: so the gradient is a permutation as well.
    moved = images.gather(-2, (rows % height).expand_as(images))
    moved = moved.gather(-1, (columns % width).expand_as(images))
    return moved * _between(rows, height) * _between(columns, width)


def cut_out(images: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Set a rectangle of image i to 0, its corner at (``top[i]``, ``left[i]``), maybe outside."""
    rows = _offsets(images.shape[-2], top)[:, None, :, None]
    columns = _offsets(images.shape[-1], left)[:, None, None, :]
    return images * ~(_between(rows, height) & _between(columns, width))


def _offsets(size: int, start: Tensor) -> Tensor:
    """Positions 0 .. size - 1 of an axis as seen from ``start`` (n,): (n, size)."""
    return torch.arange(size, device=start.device) - start[:, None]


def _between(positions: Tensor, size: int) -> Tensor:
    return (positions >= 0) & (positions < size)


def _share(share: float, size: int) -> int:
    return int(share * size + 0.5)


def _translate(images: Tensor, draws: Draws) -> Tensor:
    largest = [_share(SHIFT, size) for size in images.shape[-2:]]
    return shift(images, *(draws.integers(len(images), 2 * most + 1) - most for most in largest))


def _cut_out_somewhere(images: Tensor, draws: Draws) -> Tensor:
    # The middle is uniform over the image, so that the rectangle may hang over its border.
    sizes = images.shape[-2:]
    sides = [_share(CUTOUT, size) for size in sizes]
    top, left = (
        draws.integers(len(images), size + 1 - side % 2) - side // 2
        for size, side in zip(sizes, sides, strict=True)
    )
    return cut_out(images, top, left, *sides)


TRANSLATED = Transformation("translated", _translate, is_random=True)
CUT_OUT = Transformation("cut out", _cut_out_somewhere, is_random=True)

#: Names in `POLICIES`.
Policy = Literal[
    "rotation",
    "fliprot",
    "fliprot180",
    "flipping",
    "cropping",
    "cropping_bilinear",
    "translation",
    "cutout",
]
#: Policies by name. The first element of each is the identity.
POLICIES: dict[str, tuple[Transformation, ...]] = {
    "rotation": (IDENTITY, ROTATE_90, ROTATE_180, ROTATE_270),
    # The PyTorch module's, and the TensorFlow module's: which is the list called flipping, too.
    "fliprot": (IDENTITY, FLIP_HEIGHT, FLIP_WIDTH, ROTATE_90),
    "fliprot180": (IDENTITY, FLIP_HEIGHT, FLIP_WIDTH, ROTATE_180),
    "flipping": (IDENTITY, FLIP_HEIGHT, FLIP_WIDTH, ROTATE_180),
    "cropping": (IDENTITY, *crops("nearest")),
    "cropping_bilinear": (IDENTITY, *crops("bilinear")),
    "translation": (IDENTITY, TRANSLATED),
    "cutout": (IDENTITY, CUT_OUT),
}
