"""Any data set with attributes, whose combinations become its classes."""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, NamedTuple

import torch
from annotated_types import Len
from torch import Tensor

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.fields import Label
from saddlepoint.datamodules.source import Source
from saddlepoint.datamodules.wrapper import Wrapper
from saddlepoint.errors import UserError
from saddlepoint.schema import checked, nearest

#: What a group is called that stands for the classes that the data have already.
OWN_CLASSES = "label"


class Part(NamedTuple):
    """What one group says of the items.

    Attributes:
        names: of its values.
        value: of each item (N,), -1 where it has none or several.
    """

    names: tuple[str, ...]
    value: Tensor


class AttributeClasses(Wrapper):
    """A data set whose classes are combinations of attributes, "Gray_Hair-Male" say.

    Each group contributes one part of a class's name. A group of several attributes is a choice:
    items with none or more than one of them are left out. A group of one attribute has two values,
    "Male" and "not_Male"; the group ``[label]`` has the classes that the data have already.
    Combinations that no training item has are no classes.

    Args:
        of: the data set; has attributes, or classes.
        groups: of names of attributes.
        without: attributes whose items are left out.
    """

    @checked
    def __init__(
        self,
        of: DataModule,
        *,
        groups: Sequence[Annotated[Sequence[str], Len(1)]],
        without: Sequence[str] = (),
    ) -> None:
        super().__init__(of)
        self.groups = [list(group) for group in groups]
        self.without = list(without)

    def load(self) -> Source:
        """The training items that every group says something of."""
        return self._classed(self.of.source)

    def load_held_out(self) -> tuple[str, Source] | None:
        """The same of the items that the set holds out."""
        held_out = self.of.held_out
        return None if held_out is None else (held_out.name, self._classed(held_out.source))

    @cached_property
    def _combinations(self) -> Tensor:
        """The values of the groups in each class, (K, G), of those that training items have."""
        values = self._values(self.of.source)
        found = values[(values >= 0).all(1)].unique(dim=0)
        if not len(found):
            raise UserError(
                f"No image of {self.of.name} has exactly one attribute of every group: give other"
                " datamodule.groups."
            )
        return found

    def _classed(self, source: Source) -> Source:
        values, combinations = self._values(source), self._combinations
        is_class = (values[:, None] == combinations).all(2)
        kept = is_class.any(1).nonzero()[:, 0]
        parts = [part.names for part in self._said(source)]
        names = [
            "-".join(names[value] for names, value in zip(parts, row, strict=True))
            for row in combinations.tolist()
        ]
        label = Label(is_class[kept].long().argmax(1), names)
        return source.only(kept).replaced(label=label)

    def _values(self, source: Source) -> Tensor:
        """What each group says of each item, (N, G); -1 for nothing, and where it is left out."""
        values = torch.stack([part.value for part in self._said(source)], dim=1)
        left_out = torch.zeros(len(values), dtype=torch.bool)
        for name in self.without:
            left_out |= self._has(source, name)
        return torch.where(left_out[:, None], -1, values)

    def _said(self, source: Source) -> list[Part]:
        return [self._part(source, group) for group in self.groups]

    def _part(self, source: Source, group: list[str]) -> Part:
        if group == [OWN_CLASSES] and "label" in source:
            return Part(source.label.names, source.label.values)
        has = torch.stack([self._has(source, name) for name in group], dim=1)
        if len(group) == 1:
            return Part((f"not_{group[0]}", group[0]), has[:, 0].long())
        return Part(tuple(group), torch.where(has.sum(1) == 1, has.long().argmax(1), -1))

    def _has(self, source: Source, name: str) -> Tensor:
        names = source.names("attributes")
        if name not in names:
            near = nearest(name, names)
            hint = f"did you mean {near}?" if near else f"choose of {', '.join(names) or 'others'}."
            raise UserError(f"{self.of.name} has no attribute {name}: {hint}")
        return source.attributes.values[:, names.index(name)].bool()
