"""Your own images: a folder, a folder for each class, or a zip of either."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from saddlepoint.datamodules.archive import image_names, open_archive, read_labels
from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.decode import Decoder
from saddlepoint.datamodules.image_files import ImageFiles
from saddlepoint.datamodules.source import Source
from saddlepoint.errors import UserError
from saddlepoint.schema import Size, checked


class Folder(DataModule):
    """Images in a folder or a zip, with classes from ``dataset.json`` or from folders.

    Transparent images are laid on white. Images of different sizes need a ``resolution``, grey ones
    among coloured ones need ``channels``.

    Args:
        path: the folder or the zip.
        name: of the data set, as it stands in records; by default that of the file.
        resolution: each image's largest centred square is resized to this many pixels (Lanczos);
            None keeps the sizes of the files.
        channels: 1 (grey) or 3 (RGB); None keeps what the files have.
        exclude: names of images to leave out, as they stand below ``path``.
        settings: of `DataModule`.
    """

    @checked
    def __init__(
        self,
        path: str | Path | None,
        *,
        name: str | None = None,
        resolution: Size | None = None,
        channels: Literal[1, 3] | None = None,
        exclude: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        self.path = None if path is None else Path(path).expanduser()
        super().__init__(name or (self.path.stem if self.path else "folder"), **settings)
        self.exclude = tuple(exclude)
        self.decoder = Decoder(resolution=resolution, channels=channels)

    def load(self) -> Source:
        """Find the images and their classes.

        Raises:
            UserError: there are none, or their labels do not fit them.
        """
        if self.path is None:
            raise UserError("no images given: say datamodule.path=... (a folder, or a zip)")
        archive = open_archive(self.path)
        names = image_names(archive)
        label = read_labels(archive, names)
        for name in self.exclude:
            if name not in names:
                raise UserError(f"datamodule.exclude names {name}, which is not in {self.path}")
        kept = torch.tensor([i for i, name in enumerate(names) if name not in self.exclude])
        images = ImageFiles(archive, [names[i] for i in kept], self.decoder)
        return Source(image=images, **({} if label is None else {"label": label.only(kept)}))
