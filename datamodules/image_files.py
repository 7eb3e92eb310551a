"""Image files in a folder or a zip as a source."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from saddlepoint.datamodules.archive import Folder, Zip
from saddlepoint.datamodules.decode import Decoder
from saddlepoint.datamodules.encoded import EncodedImages
from saddlepoint.errors import UserError


@dataclass
class ImageFiles(EncodedImages):
    """Images that lie in one archive, each under its name.

    Attributes:
        archive: where they lie.
        members: their names, in the order of the items.
        decoder: how they are brought to one form; what it leaves open, the first image decides.
    """

    archive: Folder | Zip
    members: list[str]
    decoder: Decoder

    def __len__(self) -> int:
        return len(self.members)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W): as the settings say, else as in the first image."""
        if self.is_uniform:
            return (self.decoder.channels, self.decoder.resolution, self.decoder.resolution)
        return self._decode(0).shape

    @property
    def is_uniform(self) -> bool:
        """Whether the settings bring all images to the same form."""
        return self.decoder.resolution is not None and self.decoder.channels is not None

    def read_image(self, index: int) -> np.ndarray:
        """Decode one image to (C, H, W) uint8.

        Raises:
            UserError: it is missing or corrupt, or its form differs from the first image's.
        """
        image = self._decode(index)
        if image.shape != self.shape:
            raise UserError(self._explain_difference(index, image.shape))
        return image

    def files(self) -> list[Path]:
        """The image files, or the zip."""
        return self.archive.files(self.members)

    def recipe(self) -> str:
        """The settings of the decoder, and which images in which order."""
        names = hashlib.sha256("\n".join(self.members).encode()).hexdigest()
        return f"{replace(self.decoder, channels=self.shape[0])} of the images {names}"

    def _decode(self, index: int) -> np.ndarray:
        name = self.members[index]
        return self.decoder(self.archive.read(name), self.archive.describe(name))

    def _explain_difference(self, index: int, shape: tuple[int, ...]) -> str:
        first, other = (self.archive.describe(self.members[i]) for i in (0, index))
        if shape[0] != self.shape[0]:
            kinds = {1: "grey", 3: "coloured"}
            return (
                f"{first} is {kinds[self.shape[0]]} but {other} is {kinds[shape[0]]}: "
                "set datamodule.channels=3 (or 1) to make all alike"
            )
        sizes = [f"{width}x{height}" for _, height, width in (self.shape, shape)]
        return (
            f"{first} has {sizes[0]} pixels but {other} has {sizes[1]}: set "
            "datamodule.resolution to crop all to a square and resize them"
        )
