"""CIFAR-10 and CIFAR-100 (A. Krizhevsky, 2009): 50,000 colour images of 32x32 for training."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torchvision import datasets

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.download import explain_unreadable
from saddlepoint.datamodules.fields import Image, Label
from saddlepoint.datamodules.source import Source
from saddlepoint.schema import checked


class CIFAR10(DataModule):
    """CIFAR-10, 10 classes.

    Args:
        root: the directory that holds ``cifar-10-batches-py``.
        split: "train" (50,000 images) or "test" (10,000).
        settings: of `DataModule`.
    """

    dataset: ClassVar = datasets.CIFAR10
    dataset_name: ClassVar[str] = "cifar10"

    @checked
    def __init__(
        self, root: str | Path, *, split: Literal["train", "test"] = "train", **settings: Any
    ) -> None:
        super().__init__(self.dataset_name, **settings)
        self.root = Path(root).expanduser()
        self.split = split

    def load(self) -> Source:
        """Read the images, after a check of their MD5 sums."""
        return self._read(self.split)

    def load_held_out(self) -> tuple[str, Source] | None:
        """The 10,000 test images, unless they are trained on."""
        return None if self.split == "test" else ("test", self._read("test"))

    def _read(self, split: str) -> Source:
        try:
            data = self.dataset(self.root, train=split == "train")
        except RuntimeError as error:
            folder = self.root / self.dataset.base_folder
            meta = self.dataset.meta
            parts = [
                *self.dataset.train_list,
                *self.dataset.test_list,
                (meta["filename"], meta["md5"]),
            ]
            files = [(folder / file, md5) for file, md5 in parts]
            raise explain_unreadable(self.name, self.root, files) from error
        images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
        return Source(
            image=Image(images), label=Label(torch.tensor(data.targets), tuple(data.classes))
        )


class CIFAR100(CIFAR10):
    """CIFAR-100, 100 classes; the directory is ``cifar-100-python``."""

    dataset: ClassVar = datasets.CIFAR100
    dataset_name: ClassVar[str] = "cifar100"
