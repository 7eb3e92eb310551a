"""Drawn portraits in three styles, of which every edit is known: for methods that edit faces."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from saddlepoint.datamodules import fields
from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.sheet import embedded, read_sheet
from saddlepoint.datamodules.source import Source
from saddlepoint.schema import checked

SHEET = Path(__file__).parent / "assets" / "portraits.npz"
FACES, HELD_OUT = 5760, 576
SIDE = 32
STYLES = ("pixel_art", "voxel_art", "lorelei")
#: Each face has exactly one of these colours; a beard has it, too.
HAIR = ("black_hair", "brown_hair", "blond_hair", "red_hair", "grey_hair", "blue_hair")
ATTRIBUTES = (*HAIR, "glasses", "beard", "smiling")
#: What each region shows; outside its box an edit of these changes no pixel.
REGIONS = {"eyes": ("glasses",), "mouth": ("smiling",), "chin": ("beard",), "hair": HAIR}


class Portraits(DataModule):
    """5,760 faces, 32 x 32 in colour, and 576 to test on, in three drawing styles.

    Each has one of six hair colours, and glasses, a beard and a smile or none, as attributes; boxes
    around the four regions that these change; and where its hair is (with the beard), as the mask
    ``hair``. Those held out have ``edits`` (A, 3, 32, 32), too, the truth: the same face with one
    attribute changed to its other value, or its hair to that colour.

    Drawn with DiceBear's "pixel-art", "voxel-art" and "lorelei" (CC0 1.0);
    `datamodules.render_portraits` draws them anew.

    Args:
        classes: what a class is: a hair colour, a drawing style, or a colour in a style.
        settings: of `DataModule`.
    """

    protocol = "quick"
    extractor = "avatar-classifier"
    only_held_out = ("edits",)

    @checked
    def __init__(
        self,
        *,
        classes: Literal["hair", "style", "style_and_hair"] = "style_and_hair",
        **settings: Any,
    ) -> None:
        super().__init__("portraits", **settings)
        self.classes = classes

    def load(self) -> Source:
        """Decode the embedded faces."""
        with embedded(SHEET) as content:
            return self._source(content, range(FACES), read_sheet(content["sheet"], SIDE))

    def load_held_out(self) -> tuple[str, Source]:
        """Decode the faces to test on, and their edits."""
        with embedded(SHEET) as content:
            truths = read_sheet(content["truths"], SIDE).unflatten(0, (HELD_OUT, -1))
            source = self._source(content, range(FACES, FACES + HELD_OUT), truths[:, 0].clone())
        return "test", source.replaced(edits=fields.Image(truths[:, 1:].clone()))

    def _source(
        self, content: Mapping[str, np.ndarray], faces: range, images: torch.Tensor
    ) -> Source:
        rows = slice(faces.start, faces.stop)
        attributes = torch.from_numpy(content["attributes"][rows])
        hair = np.unpackbits(content["hair"][rows], axis=1).reshape(-1, 1, SIDE, SIDE)
        return Source(
            image=fields.Image(images),
            label=self._label(torch.tensor(faces) % len(STYLES), attributes[:, : len(HAIR)]),
            attributes=fields.Attributes(attributes, ATTRIBUTES, exclusive=(HAIR,)),
            boxes=fields.Boxes(torch.from_numpy(content["boxes"][rows]).float(), SIDE, REGIONS),
            hair=fields.Mask(torch.from_numpy(hair)),
        )

    def _label(self, style: torch.Tensor, hair: torch.Tensor) -> fields.Label:
        colour = hair.long().argmax(dim=1)
        if self.classes == "style":
            return fields.Label(style, STYLES)
        if self.classes == "hair":
            return fields.Label(colour, HAIR)
        names = [f"{style}-{colour}" for style in STYLES for colour in HAIR]
        return fields.Label(style * len(HAIR) + colour, names)
