"""Kinds of fields: what an item of a data set consists of.

A kind owns everything that depends on what its values mean: the form they are stored in and the
form that networks get, what becomes of them when the image is mirrored or cut, and their digest.
A new kind is a class here or anywhere else, and nothing besides.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from saddlepoint.datamodules.digest import sha256_of
from saddlepoint.datamodules.pixels import to_float
from saddlepoint.datamodules.window import Window


class Field:
    """Values of one kind, one for each item.

    Args:
        values: (N, ...) in the stored form.
        names: of what one value consists of or chooses from, if that has names.
    """

    #: Whether ``values`` are there; otherwise `read` fetches them.
    in_memory = True

    def __init__(self, values: Tensor, names: Sequence[str] = ()) -> None:
        self.values = values
        self.names = tuple(names)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item."""
        return tuple(self.values.shape[1:])

    @property
    def num_bytes(self) -> int:
        """Bytes that the stored form takes in memory."""
        return self.values.nbytes

    def read(self, items: Tensor) -> Tensor:
        """Stored form of ``items`` (n,), where they are."""
        return self.values.index_select(0, items)

    def mirrored(self, stored: Tensor) -> Tensor:
        """What holds of mirrored images, in the stored form; ``stored`` itself where nothing moves.

        Must not wait for the device, as `served` must not.
        """
        return stored

    def served(self, stored: Tensor) -> Tensor:
        """The form that networks get."""
        return stored

    def framed(self, window: Window) -> Self:
        """What holds where only this part of every image is shown."""
        return self

    def digest(self, cache_dir: Path | None = None) -> str:
        """Identifies the values: ``sha256-`` and 64 hexadecimal digits.

        Args:
            cache_dir: where a kind may keep what takes long to find out.
        """
        return f"sha256-{sha256_of(self.values)}"

    def only(self, items: Tensor) -> Self:
        """The field of some items."""
        return self._with(self.read(items))

    def to(self, device: torch.device) -> Self:
        """The field on a device."""
        return self._with(self.values.to(device))

    def _with(self, values: Tensor) -> Self:
        other = copy.copy(self)
        other.values = values
        return other


class Image(Field):
    """Images, stored as (C, H, W) uint8, served in [-1, 1].

    Args:
        values: (N, C, H, W) uint8.
        sha256: of the values, where it is known already.
    """

    def __init__(self, values: Tensor, sha256: str | None = None) -> None:
        super().__init__(values)
        self._sha256 = sha256

    def mirrored(self, stored: Tensor) -> Tensor:
        """Left and right exchanged."""
        return stored.flip(-1)

    def served(self, stored: Tensor) -> Tensor:
        """Float32: x / 127.5 - 1."""
        return to_float(stored)

    def digest(self, cache_dir: Path | None = None) -> str:
        """See `Field.digest`."""
        self._sha256 = self._sha256 or sha256_of(self.values)
        return f"sha256-{self._sha256}"

    def _with(self, values: Tensor) -> Self:
        other = super()._with(values)
        other._sha256 = None
        return other


class Mask(Field):
    """Masks (1, h, w) that lie on the image, stored as uint8 of 0 and 1, served as float32."""

    def mirrored(self, stored: Tensor) -> Tensor:
        """Left and right exchanged."""
        return stored.flip(-1)

    def served(self, stored: Tensor) -> Tensor:
        """Float32 of 0 and 1."""
        return stored.float()

    def framed(self, window: Window) -> Self:
        """Cut like the image, 0 outside it; a pixel is that of the nearest before."""
        planes = (PIL.Image.fromarray(mask) for mask in self.values.squeeze(1).numpy())
        cut = [np.array(window.cut(mask, PIL.Image.Resampling.NEAREST)) for mask in planes]
        return self._with(torch.from_numpy(np.stack(cut)).unsqueeze(1))


class Points(Field):
    """Landmarks (P, 2): x and y in pixels of the image, float32; they may lie outside of it.

    Args:
        values: (N, P, 2) float32, see `datamodules.window.Window`.
        width: of the image, in pixels.
        pairs: points that exchange their places in a mirrored image, as a left and a right eye do.
        names: of the P points.
    """

    def __init__(
        self,
        values: Tensor,
        width: int,
        pairs: Sequence[tuple[int, int]] = (),
        names: Sequence[str] = (),
    ) -> None:
        super().__init__(values, names)
        self.width = width
        self.order = list(range(values.shape[1]))
        for left, right in pairs:
            self.order[left], self.order[right] = right, left

    def mirrored(self, stored: Tensor) -> Tensor:
        """Columns counted from the right, and each pair exchanged."""
        x, y = torch.stack([stored[:, point] for point in self.order], dim=1).unbind(-1)
        return torch.stack((self.width - 1 - x, y), dim=-1)

    def framed(self, window: Window) -> Self:
        """Where the points lie in what is shown."""
        other = self._with(window.place(self.values))
        other.width = window.size[0]
        return other


class Boxes(Field):
    """Regions (R, 4): left, top, right and bottom edge in pixels, float32; ``names`` has R.

    A pixel in column k reaches from k to k + 1. Boxes may reach out of the image.

    Args:
        values: (N, R, 4) float32, with left < right and top < bottom.
        width: of the image, in pixels.
        regions: by name, in their order, with the names of the attributes that they show.
    """

    def __init__(
        self, values: Tensor, width: int, regions: Mapping[str, Sequence[str]] | Sequence[str]
    ) -> None:
        super().__init__(values, tuple(regions))
        self.width = width
        shown = regions if isinstance(regions, Mapping) else dict.fromkeys(regions, ())
        self.regions = {name: tuple(attributes) for name, attributes in shown.items()}

    def mirrored(self, stored: Tensor) -> Tensor:
        """Edges counted from the right; left and right exchanged."""
        left, top, right, bottom = stored.unbind(-1)
        return torch.stack((self.width - right, top, self.width - left, bottom), dim=-1)

    def framed(self, window: Window) -> Self:
        """Where the boxes lie in what is shown."""
        corners = self.values.unflatten(-1, (2, 2))
        # Windows place centres of pixels, which lie half a pixel from their edges.
        other = self._with((window.place(corners - 0.5) + 0.5).flatten(-2))
        other.width = window.size[0]
        return other


class Attributes(Field):
    """Binary attributes (A,), stored as uint8 of 0 and 1, served as float32.

    Args:
        values: (N, A) uint8.
        names: of the A attributes.
        exclusive: groups of names of which an item has one at most.
    """

    def __init__(
        self, values: Tensor, names: Sequence[str], exclusive: Sequence[Sequence[str]] = ()
    ) -> None:
        super().__init__(values, names)
        self.exclusive = tuple(map(tuple, exclusive))

    def served(self, stored: Tensor) -> Tensor:
        """Float32 of 0 and 1."""
        return stored.float()


class Label(Field):
    """The class of each item, int64; ``names`` are those of the classes."""


class Vector(Field):
    """Vectors (d,), float32, that a mirrored image shares: features, assignments, toy points."""


class Index(Field):
    """The position of each item in the data set, int64.

    Args:
        count: number of items.
    """

    num_bytes = 0  # on a device, the order of the epoch holds them

    def __init__(self, count: int) -> None:
        super().__init__(torch.arange(count))

    def read(self, items: Tensor) -> Tensor:
        """The positions themselves."""
        return items
