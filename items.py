"""Items of a data set, or what a generator is fed: named fields of n items."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor


class Items(dict[str, Tensor]):
    """Fields of n items by name: ``items.image`` is ``items["image"]``.

    A field that may be missing is asked for by ``items.get("label")``, which is None then.

    The names in use: ``image`` (n, *shape), of toys the point itself; ``label`` (n,) int64, the
    class; ``attributes`` (n, A); ``index`` (n,) int64, the position in the data set; ``points``
    (n, P, 2), landmarks; ``boxes`` (n, R, 4), regions; ``mask`` (n, 1, h, w); ``vector`` (n, d);
    ``edits`` (n, A, *shape), the true image for each attribute changed. What a generator is fed,
    and what a critic looks at, adds ``latents`` (n, d), ``condition`` and ``target``.
    """

    def __getattr__(self, name: str) -> Tensor:
        """A field.

        Raises:
            AttributeError: there is none of this name.
        """
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no field '{name}' among {', '.join(self)}") from None

    @property
    def count(self) -> int:
        """Number of items n."""
        return next(iter(self.values())).shape[0]

    def but(self, **fields: Tensor) -> "Items":
        """The same items with some fields replaced or added."""
        return Items({**self, **fields})

    def only(self, *names: str) -> "Items":
        """Those of the fields named that are there."""
        return Items({name: self[name] for name in names if name in self})

    def map(self, function: Callable[[Tensor], Tensor]) -> "Items":
        """Apply a function to every field."""
        return Items({name: function(field) for name, field in self.items()})

    def part(self, items: slice | Tensor) -> "Items":
        """Some of the items: a slice, or their numbers (m,)."""
        return self.map(lambda field: field[items])

    def to(self, device: torch.device | str) -> "Items":
        """Move all fields, without waiting for it."""
        return self.map(lambda field: field.to(device, non_blocking=True))

    def batches(self, size: int) -> Iterator["Items"]:
        """Consecutive parts of at most ``size`` items."""
        count = self.count
        if 0 < count <= size:
            yield self
            return
        for start in range(0, count, size):
            yield self.part(slice(start, start + size))

    @staticmethod
    def join(parts: Sequence["Items"]) -> "Items":
        """All items of several parts, one after the other, with the fields that all parts have."""
        names = [name for name in parts[0] if all(name in part for part in parts)]
        return Items({name: torch.cat([part[name] for part in parts]) for name in names})
