"""ImageNet at 32x32 (ILSVRC 2012: 1,281,167 training images of 1,000 classes)."""

import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from saddlepoint.datamodules.archive import Folder, image_names, read_labels
from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.decode import Decoder
from saddlepoint.datamodules.download import command
from saddlepoint.datamodules.fields import Image, Label
from saddlepoint.datamodules.image_files import ImageFiles
from saddlepoint.datamodules.source import Source
from saddlepoint.errors import UserError
from saddlepoint.schema import checked

CLASSES = 1000


class ImageNet32(DataModule):
    """ImageNet at 32x32, from the images or from the down-sampled set.

    From images, a folder for each class: the central 224x224 pixels are resized (bilinear,
    antialiased), as in the published baselines. From the ``npz`` batches of the down-sampled set
    (P. Chrabaszcz, I. Loshchilov, F. Hutter, 2017), whose images were squeezed to a square with a
    box filter. These are different data, with different digests; do not compare scores across.

    Args:
        root: the directory with ``train/CLASS/*.JPEG``, or with ``train_data_batch_*.npz``.
        split: "train" or "val".
        settings: of `DataModule`.
    """

    @checked
    def __init__(
        self, root: str | Path, *, split: Literal["train", "val"] = "train", **settings: Any
    ) -> None:
        super().__init__("imagenet32", **settings)
        self.root = Path(root).expanduser()
        self.split = split

    def load(self) -> Source:
        """Find the images in either form."""
        batches = sorted(self.root.glob(f"{self.split}_data*.npz"), key=_number)
        if batches:
            return _read_batches(batches)
        folder = self.root / self.split
        if not folder.is_dir():
            raise UserError(f"imagenet32 is not in {self.root}: {command(self.name, self.root)}")
        archive = Folder(folder)
        names = image_names(archive)
        images = ImageFiles(
            archive, names, Decoder(resolution=32, channels=3, crop=224, filter="bilinear")
        )
        label = read_labels(archive, names)
        return Source(image=images, **({} if label is None else {"label": label}))


def _number(path: Path) -> int:
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else 0


def _read_batches(paths: list[Path]) -> Source:
    images, labels = [], []
    for path in paths:
        try:
            with np.load(path, allow_pickle=False) as batch:
                images.append(torch.from_numpy(batch["data"].reshape(-1, 3, 32, 32)))
                labels.append(torch.from_numpy(batch["labels"].astype(np.int64)) - 1)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} is corrupt ({error}): fetch it again") from error
    names = tuple(map(str, range(1, CLASSES + 1)))
    return Source(image=Image(torch.cat(images)), label=Label(torch.cat(labels), names))
