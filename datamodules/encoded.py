"""Images that are decoded when they are asked for."""

import math
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saddlepoint.datamodules.digest import digest_of_files, sha256_of
from saddlepoint.datamodules.fields import Image


class EncodedImages(Image, ABC):
    """Images in files, decoded one at a time."""

    in_memory = False
    names = ()

    def __init__(self) -> None:
        """There are no values in memory."""

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""

    @abstractmethod
    def read_image(self, index: int) -> np.ndarray:
        """Decode one image to (C, H, W) uint8.

        Raises:
            UserError: the file is missing or corrupt, or its image unlike the others.
        """

    @abstractmethod
    def files(self) -> list[Path]:
        """The files that the images are read from."""

    @abstractmethod
    def recipe(self) -> str:
        """How the images are made from the files: which, crop, resize, channels."""

    @property
    def is_uniform(self) -> bool:
        """Whether all images are known to have the same form before any is decoded."""
        return True

    def verify(self) -> None:  # noqa: B027 - most formats show their damage when read
        """Check the files as a whole; called once, before all images are decoded.

        Raises:
            UserError: a file is corrupt; names it.
        """

    @property
    def num_bytes(self) -> int:
        """Bytes that the decoded images take."""
        return len(self) * math.prod(self.shape)

    def read(self, items: Tensor) -> Tensor:
        """Images (n, C, H, W) uint8."""
        images = torch.empty(len(items), *self.shape, dtype=torch.uint8)
        for image, index in zip(images.numpy(), items.tolist(), strict=True):
            image[...] = self.read_image(index)
        return images

    def digest(self, cache_dir: Path | None = None) -> str:
        """See `datamodules.digest.digest_of_files`."""
        return digest_of_files(self.files(), self.recipe(), cache_dir)

    def only(self, items: Tensor) -> "EncodedImages":
        """Some of the images."""
        return _Chosen(self, items)


class _Chosen(EncodedImages):
    """Some images of others."""

    def __init__(self, images: EncodedImages, items: Tensor) -> None:
        self.images = images
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.images.shape

    @property
    def is_uniform(self) -> bool:
        return self.images.is_uniform

    def read_image(self, index: int) -> np.ndarray:
        return self.images.read_image(int(self.items[index]))

    def verify(self) -> None:
        self.images.verify()

    def files(self) -> list[Path]:
        return self.images.files()

    def recipe(self) -> str:
        return f"{self.images.recipe()}, of these {sha256_of(self.items)}"
