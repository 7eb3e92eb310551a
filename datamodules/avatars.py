"""Drawn faces: the data set that comes with the project, so that a first run needs nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from saddlepoint.datamodules import fields
from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.sheet import embedded, read_sheet
from saddlepoint.datamodules.source import Source

SHEET = Path(__file__).parent / "assets" / "avatars.npz"
FACES = 6144
PER_ROW = 64
RESOLUTION = 32
#: The class of a face is the colour of its hair (and beard).
CLASSES = ("black_hair", "brown_hair", "blond_hair", "red_hair", "grey_hair", "blue_hair")
ATTRIBUTES = ("glasses", "beard", "hat", "long_hair", "smiling", "dark_skin")


class Avatars(DataModule):
    """6,144 faces in pixel art, 32 x 32 in colour, with hair colour as class and six attributes.

    Drawn with DiceBear's "pixel-art" style (CC0 1.0); `datamodules.render_avatars` draws them anew.

    Args:
        settings: of `DataModule`.
    """

    protocol = "quick"
    extractor = "avatar-classifier"

    def __init__(self, **settings: Any) -> None:
        super().__init__("avatars", **settings)

    def load(self) -> Source:
        """Decode the embedded sheet."""
        return load_avatars()


def load_avatars() -> Source:
    """Images (6144, 3, 32, 32) uint8, hair colour as class, attributes (6144, 6) of 0 and 1.

    Raises:
        UserError: the file is missing or damaged.
    """
    with embedded(SHEET) as content:
        images = read_sheet(content["sheet"], RESOLUTION)
        labels, attributes = content["labels"], torch.from_numpy(content["attributes"])
    return Source(
        image=fields.Image(images),
        label=fields.Label(torch.from_numpy(labels.astype(np.int64)), CLASSES),
        attributes=fields.Attributes(attributes, ATTRIBUTES),
    )
