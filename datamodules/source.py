"""What a data set consists of, before anyone asks in which order it is served."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


@dataclass(kw_only=True)
class Source(ABC):
    """Items by index, with their labels.

    Attributes:
        labels: (N,) int64 classes; zeros if the set has none.
        classes: their names; empty if the set has none.
        attributes: (N, A) uint8 of 0 and 1, or None.
        attribute_names: their names.
    """

    labels: Tensor
    classes: tuple[str, ...] = ()
    attributes: Tensor | None = None
    attribute_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, (2,) of a point."""

    @property
    def num_bytes(self) -> int:
        """Bytes that the decoded images take."""
        return len(self) * math.prod(self.shape)

    @abstractmethod
    def read(self, indices: Tensor) -> Tensor:
        """Items (B, *shape) at ``indices`` (B,)."""


@dataclass(kw_only=True)
class InMemory(Source):
    """Items in memory.

    Attributes:
        images: (N, C, H, W) uint8, or (N, 2) float32 points.
        images_sha256: SHA-256 of their bytes, where it is known already.
    """

    images: Tensor
    images_sha256: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, (2,) of a point."""
        return tuple(self.images.shape[1:])

    @property
    def num_bytes(self) -> int:
        """Bytes that the items take."""
        return self.images.nbytes

    def read(self, indices: Tensor) -> Tensor:
        """Items (B, *shape) at ``indices`` (B,)."""
        return self.images[indices]


class EncodedImages(Source):
    """Images in files, decoded one at a time."""

    @abstractmethod
    def read_image(self, index: int) -> np.ndarray:
        """Decode one image to (C, H, W) uint8.

        Raises:
            UserError: the file is missing or corrupt, or its image unlike the others.
        """

    @property
    def is_uniform(self) -> bool:
        """Whether all images are known to have the same form before any is decoded."""
        return True

    def verify(self) -> None:  # noqa: B027 - most formats show their damage when read
        """Check the files as a whole; called once, before all images are decoded.

        Raises:
            UserError: a file is corrupt; names it.
        """

    @abstractmethod
    def files(self) -> list[Path]:
        """The files that the images are read from."""

    @abstractmethod
    def recipe(self) -> str:
        """How the images are made from the files: which, crop, resize, channels."""

    def read(self, indices: Tensor) -> Tensor:
        """Images (B, C, H, W) at ``indices`` (B,)."""
        images = torch.empty(len(indices), *self.shape, dtype=torch.uint8)
        for image, index in zip(images.numpy(), indices.tolist(), strict=True):
            image[...] = self.read_image(index)
        return images
