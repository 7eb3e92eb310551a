"""LSUN bedrooms (F. Yu et al., arXiv 1506.03365): 3,033,042 images in a database."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.decode import Decoder
from saddlepoint.datamodules.download import command
from saddlepoint.datamodules.encoded import EncodedImages
from saddlepoint.datamodules.source import Source
from saddlepoint.errors import UserError
from saddlepoint.schema import Size, checked


class LSUNBedroom(DataModule):
    """LSUN bedrooms: the central 256x256 pixels, resized (bilinear, antialiased).

    Args:
        root: the directory that holds ``bedroom_train_lmdb``.
        split: "train" or "val".
        resolution: 128 is the published size.
        settings: of `DataModule`.
    """

    @checked
    def __init__(
        self,
        root: str | Path,
        *,
        split: Literal["train", "val"] = "train",
        resolution: Size = 128,
        **settings: Any,
    ) -> None:
        super().__init__("lsun_bedroom", **settings)
        self.root = Path(root).expanduser()
        self.path = self.root / f"bedroom_{split}_lmdb"
        self.decoder = Decoder(resolution=resolution, channels=3, crop=256, filter="bilinear")

    def load(self) -> Source:
        """List the images of the database."""
        if not (self.path / "data.mdb").is_file():
            raise UserError(f"there is no {self.path}: {command(self.name, self.root)}")
        with _open(self.path) as database, database.begin() as transaction:
            keys = np.array(list(transaction.cursor().iternext(values=False)))
        if not len(keys):
            raise UserError(f"{self.path} holds no image: {command(self.name, self.root)}")
        return Source(image=_LSUNImages(self.path, keys, self.decoder))


def _open(path: Path) -> Any:
    try:
        import lmdb
    except ImportError as error:
        raise UserError("LSUN is read with lmdb, which is missing: pip install lmdb") from error
    try:
        return lmdb.open(str(path), readonly=True, lock=False, readahead=False, meminit=False)
    except lmdb.Error as error:
        raise UserError(f"{path} is corrupt ({error}): fetch it again") from error


@dataclass
class _LSUNImages(EncodedImages):
    """Not torchvision's reader: that leaves a file of keys in the current directory."""

    path: Path
    keys: np.ndarray
    decoder: Decoder

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (3, self.decoder.resolution, self.decoder.resolution)

    def read_image(self, index: int) -> np.ndarray:
        key = bytes(self.keys[index])
        with self._database().begin() as transaction:
            encoded = transaction.get(key)
        return self.decoder(encoded, f"{key.decode()} in {self.path}")

    def files(self) -> list[Path]:
        return [self.path / "data.mdb"]

    def recipe(self) -> str:
        return repr(self.decoder)

    def _database(self) -> Any:
        # An open database must not be carried into another process.
        pid, database = vars(self).get("_opened", (None, None))
        if pid != os.getpid():
            database = _open(self.path)
            self._opened = os.getpid(), database
        return database

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_opened"}
