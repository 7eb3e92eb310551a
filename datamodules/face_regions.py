"""Regions of a face around its landmarks, and the attributes of CelebA that they show.

In the scheme of R. Durall, F.-J. Pfreundt, J. Keuper, "Local Facial Attribute Transfer through
Inpainting", arXiv 2002.03040: one region is painted anew and the rest of the face stays. Their own
boxes are not published; these are ours.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Region(NamedTuple):
    """A box in units of the distance between the eyes.

    Attributes:
        centre: landmark it lies around: "eyes" or "mouth" (the middle of both points), or "nose".
        down: how far its centre lies below that.
        half_width: of the box.
        half_height: of the box.
        attributes: those of CelebA that it shows.
    """

    centre: str
    down: float
    half_width: float
    half_height: float
    attributes: tuple[str, ...]


REGIONS = {
    "mouth": Region(
        *("mouth", 0.05, 0.75, 0.55),
        ("Smiling", "Mouth_Slightly_Open", "Mustache", "Goatee", "No_Beard", "5_o_Clock_Shadow")
        + ("Wearing_Lipstick", "Big_Lips"),
    ),
    "eyes": Region(
        *("eyes", 0.0, 1.05, 0.45),
        ("Eyeglasses", "Narrow_Eyes", "Bags_Under_Eyes", "Arched_Eyebrows", "Bushy_Eyebrows"),
    ),
    "nose": Region(*("nose", -0.15, 0.45, 0.50), ("Big_Nose", "Pointy_Nose")),
    "chin": Region(*("mouth", 0.55, 1.0, 0.6), ("Goatee", "No_Beard", "Sideburns", "Double_Chin")),
}
#: Groups of CelebA's attributes of which a face has one at most.
EXCLUSIVE = (
    ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"),
    ("Straight_Hair", "Wavy_Hair"),
    ("No_Beard", "Mustache"),
    ("No_Beard", "Goatee"),
)


def boxes_around(points: Tensor) -> Tensor:
    """Boxes (N, R, 4) of `REGIONS`, as of `datamodules.fields.Boxes`.

    Args:
        points: (N, 5, 2), see `datamodules.fields.Points`: both eyes, the nose and both corners of
            the mouth.
    """
    left, right, nose, *mouth = points.unbind(1)
    centres = {"eyes": (left + right) / 2, "nose": nose, "mouth": (mouth[0] + mouth[1]) / 2}
    distance = (right - left).norm(dim=-1, keepdim=True)
    boxes = []
    for region in REGIONS.values():
        below = points.new_tensor((0, region.down))
        half = points.new_tensor((region.half_width, region.half_height))
        centre = centres[region.centre] + 0.5 + below * distance  # edges, not centres, of pixels
        boxes.append(torch.cat((centre - half * distance, centre + half * distance), dim=-1))
    return torch.stack(boxes, dim=1)
