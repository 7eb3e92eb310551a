"""The condition of edits: attributes that are changed one by one, and where they show."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from saddlepoint.gans.networks.conditions import Attributes, Editable


class Edits(Attributes, Editable):
    """Binary attributes, of which some exclude each other and some show in one region only.

    Args:
        features: their number A.
        bank_size: rows of the bank, see `conditions.Vectors`.
        names: of the A attributes.
        exclusive: groups of names of which an item has one at most. A group of which every item of
            the data has one, such as the colours of hair, is never left without.
        regions: by name, in the order of the items' boxes: the attributes that a region may change.

    Attributes:
        excludes: bool (A, A), whether two attributes are of one group.
        complete: bool (A,), whether every item has an attribute of this one's group.
        allowed: bool (R, A), whether a region may change an attribute.
        boxes: (R, 4), the mean box of each region.
    """

    excludes: Tensor
    complete: Tensor
    allowed: Tensor
    boxes: Tensor

    def __init__(
        self,
        features: int,
        bank_size: int,
        *,
        names: Sequence[str],
        exclusive: Sequence[Sequence[str]] = (),
        regions: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(features, bank_size)
        self.names, self.regions = tuple(names), tuple(regions or {})
        excludes = torch.zeros(features, features, dtype=torch.bool)
        for group in exclusive:
            members = torch.tensor([self.names.index(name) for name in group])
            excludes[members[:, None], members] = True
        shown = [[name in attributes for name in names] for attributes in (regions or {}).values()]
        allowed = torch.tensor(shown, dtype=torch.bool).reshape(-1, features)
        self.register_buffer("excludes", excludes.fill_diagonal_(False), persistent=False)
        self.register_buffer("allowed", allowed, persistent=False)
        self.register_buffer("complete", torch.zeros(features, dtype=torch.bool))
        self.register_buffer("boxes", torch.zeros(len(self.regions), 4))

    @classmethod
    def of_data(cls, spec: Any) -> "Edits":
        """The attributes of a data set, see `conditions.Vectors.of_data`."""
        plain = Attributes.of_data(spec)
        return cls(
            plain.features,
            len(plain.bank),
            names=spec.attributes,
            exclusive=spec.exclusive,
            regions=spec.regions,
        )

    def fill(self, data: Any) -> None:
        """Take the attributes of every item, and the mean boxes."""
        super().fill(data)
        groups = (self.excludes | torch.eye(self.features, dtype=torch.bool)).float()
        grouped = self.excludes.any(1)
        self.complete.copy_(grouped & ((self.bank @ groups) == 1).all(0))
        if self.regions:
            boxes = torch.cat([items.boxes for items in data.real_batches(1024)])
            self.boxes.copy_(boxes.double().mean(0))

    def possible(self, own: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Whether each attribute can be changed alone: bool (n, A).

        One that is put on takes the place of the others of its group, which must be allowed to go;
        one that its group needs is not taken off.

        Args:
            own: attributes (n, A).
            allowed: bool (n, A), what may change; everything by default.
        """
        held = own > 0.5
        if allowed is None:
            allowed = torch.ones_like(held)
        stays = (held & ~allowed).float() @ self.excludes.to(own) > 0
        return allowed & torch.where(held, ~self.complete.to(own.device), ~stays)

    def changed(self, own: Tensor, choice: Tensor) -> Tensor:
        """Attributes (n, A) that differ from ``own`` in the one chosen, and its group's others.

        Args:
            own: (n, A).
            choice: (n,), of the possible ones.
        """
        rows = torch.arange(len(own), device=own.device)
        target = own.clone()
        target[rows, choice] = 1 - own[rows, choice]
        goes = self.excludes.to(own.device)[choice] & (target[rows, choice] > 0.5)[:, None]
        return target.masked_fill(goes, 0.0)

    def consistent(self, target: Tensor, own: Tensor) -> Tensor:
        """Targets (n, A) where every group that would have two members, or too few, stays as it is.

        Args:
            target: attributes wanted (n, A).
            own: those that the items have (n, A).
        """
        excludes, complete = self.excludes.to(own), self.complete.to(own.device)
        members = target + target @ excludes  # of each attribute's group
        wrong = excludes.any(1) & ((members > 1) | (complete & (members < 1)))
        return torch.where(wrong, own, target)


def chosen(possible: Tensor, noise: Tensor) -> Tensor:
    """Draw one of the possible columns of each row, uniformly; the first where there is none.

    Args:
        possible: bool (n, k).
        noise: uniform in [0, 1), (n, k); of other numbers, that of the largest is taken.
    """
    return noise.masked_fill(~possible, -1.0).argmax(1)
