"""The same boxes in all images, for aligned ones whose landmarks nobody knows."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from saddlepoint.datamodules.fields import Boxes
from saddlepoint.errors import UserError


def fixed_boxes(
    regions: Mapping[str, Mapping[str, Any]],
    attributes: Sequence[str],
    count: int,
    size: tuple[int, int],
) -> Boxes:
    """Boxes of ``count`` images of one size.

    Args:
        regions: {name: {"box": (left, top, right, bottom) as shares of the sides, "attributes":
            those that it shows}}.
        attributes: that there are.
        count: of images.
        size: (height, width) of an image.

    Raises:
        UserError: a region is not of this form.
    """
    height, width = size
    sides = torch.tensor((width, height, width, height))
    boxes = [_box(name, region) for name, region in regions.items()]
    shown = {name: tuple(region.get("attributes") or ()) for name, region in regions.items()}
    for name, of_region in shown.items():
        for attribute in of_region:
            if attribute not in attributes:
                raise UserError(
                    f"datamodule.regions.{name} shows {attribute}, which is no attribute: add it to"
                    " datamodule.attributes."
                )
    return Boxes((torch.tensor(boxes) * sides).repeat(count, 1, 1), width, shown)


def _box(name: str, region: Mapping[str, Any]) -> list[float]:
    try:
        left, top, right, bottom = map(float, region["box"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"datamodule.regions.{name} is not of the form {{box: [left, top, right, bottom],"
            " attributes: [...]}."
        ) from error
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise UserError(
            f"datamodule.regions.{name}.box is no box in the image: give shares of its sides from 0"
            " to 1, left < right and top < bottom."
        )
    return [left, top, right, bottom]
