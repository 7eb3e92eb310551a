"""STL-10 (A. Coates, A. Ng, H. Lee, AISTATS 2011), resized to 48x48 as the GAN literature does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.decode import Decoder
from saddlepoint.datamodules.download import explain_unreadable
from saddlepoint.datamodules.encoded import EncodedImages
from saddlepoint.datamodules.fields import Label
from saddlepoint.datamodules.source import Source
from saddlepoint.schema import Size, checked

BYTES_PER_IMAGE = 3 * 96 * 96


class STL10(DataModule):
    """STL-10: the 100,000 unlabelled images by default.

    Args:
        root: the directory that holds ``stl10_binary``.
        split: "unlabeled" (100,000 images without classes), "train" (5,000) or "test" (8,000).
        resolution: the images of 96x96 are resized to this many pixels (bilinear, antialiased).
        settings: of `DataModule`.
    """

    @checked
    def __init__(
        self,
        root: str | Path,
        *,
        split: Literal["unlabeled", "train", "test"] = "unlabeled",
        resolution: Size = 48,
        **settings: Any,
    ) -> None:
        super().__init__("stl10", **settings)
        self.root = Path(root).expanduser()
        self.split = split
        self.decoder = Decoder(resolution=resolution, channels=3, filter="bilinear")

    def load(self) -> Source:
        """Find the images of the split."""
        return self._find(self.split)

    def load_held_out(self) -> tuple[str, Source] | None:
        """The 8,000 test images, unless they are trained on."""
        return None if self.split == "test" else ("test", self._find("test"))

    def _find(self, split: str) -> Source:
        folder = self.root / datasets.STL10.base_folder
        images, labels = folder / f"{split}_X.bin", folder / f"{split}_y.bin"
        names = folder / datasets.STL10.class_names_file
        for file in (images,) if split == "unlabeled" else (images, labels, names):
            if not file.is_file():
                raise explain_unreadable(self.name, self.root, [(file, None)])
        count = images.stat().st_size // BYTES_PER_IMAGE
        source = Source(image=_STL10Images(images, count, self.decoder))
        if split == "unlabeled":
            return source
        classes = torch.from_numpy(np.fromfile(labels, np.uint8).astype(np.int64) - 1)
        return source.replaced(label=Label(classes, names.read_text().split()))


@dataclass
class _STL10Images(EncodedImages):
    path: Path
    count: int
    decoder: Decoder

    def __len__(self) -> int:
        return self.count

    @property
    def shape(self) -> tuple[int, int, int]:
        return (3, self.decoder.resolution, self.decoder.resolution)

    def read_image(self, index: int) -> np.ndarray:
        # Mapped, not read, so that the workers share one copy; stored column by column.
        images = np.memmap(self.path, np.uint8, "r", shape=(len(self), 3, 96, 96))
        image = Image.fromarray(images[index].transpose(2, 1, 0))
        return self.decoder.convert(image, f"image {index} of {self.path}")

    def verify(self) -> None:
        parts = dict([*datasets.STL10.train_list, *datasets.STL10.test_list])
        if not check_integrity(str(self.path), parts[self.path.name]):
            files = [(self.path, parts[self.path.name])]
            raise explain_unreadable("stl10", self.path.parents[1], files)

    def files(self) -> list[Path]:
        return [self.path]

    def recipe(self) -> str:
        return repr(self.decoder)
