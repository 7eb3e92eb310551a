"""Training pairs of an item's fields and the image of one of the items nearest to it."""

from functools import cached_property

import torch
from torch import Tensor

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.fields import Field
from saddlepoint.datamodules.relabelled import Joined
from saddlepoint.datamodules.source import Source


class WithNeighbours(Joined):
    """Data of which a run sees item i's fields with the image of one of its neighbours.

    An epoch holds every pair (item, neighbour) once; ``index`` counts pairs. Pictures and scores
    see the items themselves.

    Args:
        of: the data set.
        neighbours: (N, k) int64, positions of each item's neighbours; None leaves items alone.
        fields: of `Joined`.
    """

    def __init__(self, of: DataModule, neighbours: Tensor | None = None, **fields: Field) -> None:
        super().__init__(of, **fields)
        self.neighbours = neighbours

    @cached_property
    def played(self) -> Source:
        """The pairs, or the items."""
        if self.neighbours is None:
            return self.source
        count, k = self.neighbours.shape
        own = torch.arange(count).repeat_interleave(k)
        others = {"image": self.neighbours.flatten()}
        fields = {
            name: Picked(field, others.get(name, own))
            for name, field in self.source.items()
            if name != "index"
        }
        return Source(**fields)


class Picked(Field):
    """Values of another field, some of them, and some more than once.

    Args:
        of: the field.
        rows: (M,) int64, which value each of the M items has.
    """

    def __init__(self, of: Field, rows: Tensor) -> None:
        super().__init__(rows, of.names)
        self.of = of

    @property
    def in_memory(self) -> bool:
        """Whether the values are."""
        return self.of.in_memory

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item."""
        return self.of.shape

    @property
    def num_bytes(self) -> int:
        """Of the values, once, and of who has which."""
        return self.of.num_bytes + self.values.nbytes

    def read(self, items: Tensor) -> Tensor:
        """Stored form of ``items`` (n,)."""
        return self.of.read(self.values.index_select(0, items))

    def mirrored(self, stored: Tensor) -> Tensor:
        """See the field."""
        return self.of.mirrored(stored)

    def served(self, stored: Tensor) -> Tensor:
        """See the field."""
        return self.of.served(stored)

    def to(self, device: torch.device) -> "Picked":
        """The field on a device."""
        return Picked(self.of.to(device), self.values.to(device))
