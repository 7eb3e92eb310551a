"""Stacked MNIST (L. Metz et al., ICLR 2017): three digits in three channels, 1,000 modes."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision import datasets

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.download import explain_unreadable
from saddlepoint.datamodules.fields import Image, Label
from saddlepoint.datamodules.mnist_5k import load_mnist_5k
from saddlepoint.datamodules.source import Source
from saddlepoint.randomness import keyed_generator
from saddlepoint.schema import Natural, NumItems, checked


class StackedMNIST(DataModule):
    """Images of three random MNIST training digits in red, green and blue.

    The class of an image is the number that its digits make: 100 * red + 10 * green + blue.

    Digits of ``mnist_5k`` make another data set, stacked_mnist_5k, with another name in records.

    Args:
        root: the directory that holds ``MNIST/raw``.
        resolution: 28, or 32 (with a black margin of 2).
        num_items: how many images are made; 128,000 is customary.
        data_seed: which ones; part of the data set, not of the run.
        digits: "mnist", the 60,000 of the training set; "mnist_5k", 5,000 of them from an installed
            package (`datamodules.mnist_5k`); "auto", the former where they are in ``root``.
        settings: of `DataModule`.
    """

    @checked
    def __init__(
        self,
        root: str | Path,
        *,
        resolution: Literal[28, 32] = 28,
        num_items: NumItems = 128_000,
        data_seed: Natural = 0,
        digits: Literal["mnist", "mnist_5k", "auto"] = "mnist",
        **settings: Any,
    ) -> None:
        self.root = Path(root).expanduser()
        if digits == "auto":
            digits = "mnist" if (self.root / "MNIST" / "raw").is_dir() else "mnist_5k"
        super().__init__(f"stacked_{digits}", **settings)
        self.drawn_from = digits
        self.resolution = resolution
        self.num_items = num_items
        self.data_seed = data_seed

    def load(self) -> Source:
        """Stack the digits."""
        digits = self.digits()
        generator = keyed_generator("stacked_mnist", self.data_seed)
        drawn = torch.randint(digits.count, (self.num_items, 3), generator=generator)
        numbers = digits.label.values[drawn] @ torch.tensor([100, 10, 1])
        return Source(
            image=Image(digits.image.values.squeeze(1)[drawn]),
            label=Label(numbers, [f"{number:03d}" for number in range(1000)]),
        )

    def digits(self) -> Source:
        """What the channels are made of: images (N, 1, H, W) of one digit, which is the class.

        A classifier of the 1,000 classes need only tell these.
        """
        if self.drawn_from == "mnist_5k":
            images, labels = load_mnist_5k(self.root)
        else:
            images, labels = self._mnist()
        margin = (self.resolution - 28) // 2
        images = pad(images, 4 * (margin,)).unsqueeze(1)
        return Source(image=Image(images), label=Label(labels, tuple("0123456789")))

    def _mnist(self) -> tuple[Tensor, Tensor]:
        try:
            digits = datasets.MNIST(self.root)
        except (RuntimeError, ValueError, AssertionError, OSError) as error:
            raw = self.root / "MNIST" / "raw"
            files = [(raw / file.removesuffix(".gz"), None) for file, _ in datasets.MNIST.resources]
            raise explain_unreadable(self.name, self.root, files) from error
        return digits.data, digits.targets
