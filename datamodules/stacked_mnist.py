"""Stacked MNIST (L. Metz et al., ICLR 2017): three digits in three channels, 1,000 modes."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch.nn.functional import pad
from torchvision import datasets

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.download import explain_unreadable
from saddlepoint.datamodules.fields import Image, Label
from saddlepoint.datamodules.source import Source
from saddlepoint.randomness import keyed_generator
from saddlepoint.schema import Natural, NumItems, checked


class StackedMNIST(DataModule):
    """Images of three random MNIST training digits in red, green and blue.

    The class of an image is the number that its digits make: 100 * red + 10 * green + blue.

    Args:
        root: the directory that holds ``MNIST/raw``.
        resolution: 28, or 32 (with a black margin of 2).
        num_items: how many images are made; 128,000 is customary.
        data_seed: which ones; part of the data set, not of the run.
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
        **settings: Any,
    ) -> None:
        super().__init__("stacked_mnist", **settings)
        self.root = Path(root).expanduser()
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
        try:
            digits = datasets.MNIST(self.root)
        except (RuntimeError, ValueError, AssertionError, OSError) as error:
            raw = self.root / "MNIST" / "raw"
            files = [(raw / file.removesuffix(".gz"), None) for file, _ in datasets.MNIST.resources]
            raise explain_unreadable(self.name, self.root, files) from error
        margin = (self.resolution - 28) // 2
        images = pad(digits.data, 4 * (margin,)).unsqueeze(1)
        return Source(image=Image(images), label=Label(digits.targets, tuple("0123456789")))
