"""Drawn faces: the data set that comes with the project, so that a first run needs nothing else."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.source import InMemory
from saddlepoint.errors import UserError

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

    def load(self) -> InMemory:
        """Decode the embedded sheet."""
        return load_avatars()


def load_avatars() -> InMemory:
    """Images (6144, 3, 32, 32) uint8, hair colour as class, attributes (6144, 6) of 0 and 1.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with np.load(SHEET, allow_pickle=False) as archive:
            sheet = np.asarray(Image.open(io.BytesIO(archive["sheet"].tobytes())).convert("RGB"))
            labels, attributes = archive["labels"], archive["attributes"]
        tiles = torch.from_numpy(sheet.copy()).unflatten(0, (-1, RESOLUTION))
        tiles = tiles.unflatten(2, (PER_ROW, RESOLUTION)).permute(0, 2, 4, 1, 3)
        images = tiles.reshape(FACES, 3, RESOLUTION, RESOLUTION).contiguous()
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"The embedded faces ({SHEET}) are missing or damaged: install Saddlepoint again."
        ) from error
    return InMemory(
        images=images,
        labels=torch.from_numpy(labels.astype(np.int64)),
        classes=CLASSES,
        attributes=torch.from_numpy(attributes.copy()),
        attribute_names=ATTRIBUTES,
    )
