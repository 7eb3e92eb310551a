"""What a data set consists of, before anyone asks in which order it is served."""

from collections.abc import Callable

import torch
from torch import Tensor

from saddlepoint.datamodules.fields import Field, Index
from saddlepoint.items import Items

#: Fields that are no annotation: what is annotated, and where it stands.
UNANNOTATED = ("image", "index")


class Source(dict[str, Field]):
    """Fields of ``count`` items by name: ``source.image`` is ``source["image"]``.

    ``image`` is what is generated; ``index`` comes of itself. The names in use are those of
    `saddlepoint.items.Items`.

    Raises:
        ValueError: the fields differ in length.
    """

    def __init__(self, **fields: Field) -> None:
        super().__init__(fields)
        self["index"] = Index(self.count)
        lengths = {name: len(field) for name, field in self.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"fields of one data set differ in length: {lengths}")

    def __getattr__(self, name: str) -> Field:
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
        """Number of items."""
        return len(self["image"])

    @property
    def in_memory(self) -> bool:
        """Whether no field has to be fetched."""
        return all(field.in_memory for field in self.values())

    @property
    def num_bytes(self) -> int:
        """Bytes that all fields take in memory."""
        return sum(field.num_bytes for field in self.values())

    def names(self, field: str) -> tuple[str, ...]:
        """Names that a field has for what it holds; none where there is no such field."""
        return self[field].names if field in self else ()

    def read(self, items: Tensor) -> Items:
        """Stored form of ``items`` (n,)."""
        return Items({name: field.read(items) for name, field in self.items()})

    def finish(self, stored: Items, flips: Tensor | None = None) -> Items:
        """What networks get: mirrored where ``flips`` (n,) is not 0, scaled, in the served types.

        Everything happens where ``stored`` lies, without a copy from the host or a wait.
        """
        served = Items()
        for name, field in self.items():
            values = stored[name]
            if flips is not None and (mirrored := field.mirrored(values)) is not values:
                flipped = flips.bool().view(-1, *[1] * (values.ndim - 1))
                values = torch.where(flipped, mirrored, values)
            served[name] = field.served(values)
        return served

    def only(self, items: Tensor) -> "Source":
        """A data set of some items, whose positions are counted anew."""
        return self._mapped(lambda field: field.only(items))

    def to(self, device: torch.device) -> "Source":
        """All fields on a device."""
        return self._mapped(lambda field: field.to(device))

    def replaced(self, **fields: Field | None) -> "Source":
        """Some fields added or exchanged; None takes one away."""
        fields = {**self, **fields}
        del fields["index"]
        return Source(**{name: field for name, field in fields.items() if field is not None})

    def _mapped(self, change: Callable[[Field], Field]) -> "Source":
        return self.replaced(
            **{name: change(field) for name, field in self.items() if name != "index"}
        )
