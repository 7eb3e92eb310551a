"""CIFAR-10 and CIFAR-100 (A. Krizhevsky, 2009): 50,000 colour images of 32x32 for training."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torchvision import datasets

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.download import explain_unreadable
from saddlepoint.datamodules.source import InMemory
from saddlepoint.errors import UserError


class CIFAR10(DataModule):
    """CIFAR-10, 10 classes.

    Args:
        root: the directory that holds ``cifar-10-batches-py``.
        split: "train" (50,000 images) or "test" (10,000).
        settings: of `DataModule`.
    """

    dataset: ClassVar = datasets.CIFAR10
    dataset_name: ClassVar[str] = "cifar10"

    def __init__(self, root: str | Path, *, split: str = "train", **settings: Any) -> None:
        super().__init__(self.dataset_name, **settings)
        self.root = Path(root).expanduser()
        if split not in ("train", "test"):
            raise UserError(f"datamodule.split is {split!r}: {self.name} has train and test")
        self.split = split

    def load(self) -> InMemory:
        """Read the images, after a check of their MD5 sums."""
        try:
            data = self.dataset(self.root, train=self.split == "train")
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
        return InMemory(
            images=torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous(),
            labels=torch.tensor(data.targets),
            classes=tuple(data.classes),
        )


class CIFAR100(CIFAR10):
    """CIFAR-100, 100 classes; the directory is ``cifar-100-python``."""

    dataset: ClassVar = datasets.CIFAR100
    dataset_name: ClassVar[str] = "cifar100"
