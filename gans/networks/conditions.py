"""Conditions: what a generation is asked for, how that is drawn, and how networks take it in.

A method that is conditional at all is so by one of these objects: class-conditional GANs, GANs on
clusters or features of an unsupervised representation, and translations to attributes differ in
their condition and not in code of their own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.items import Items
from saddlepoint.randomness import Draws
from saddlepoint.schema import Count, checked


class Condition(nn.Module, ABC):
    """Base class; what it needs to draw (frequencies, a bank) are buffers, and so in checkpoints.

    Attributes:
        kind: "classes", "vectors" or "attributes".
        features: length of a condition as a vector, see `encoder`.
        num_classes: how many there are; 0 where conditions are no classes.
    """

    kind: ClassVar[str]
    features: int
    num_classes: int = 0

    def fill(self, data: Any) -> None:
        """Take from the data (see `datamodules.base.DataModule`) what conditions are drawn from."""

    @abstractmethod
    def of(self, reals: Items) -> Tensor:
        """Conditions (n, ...) that real items fulfil."""

    @abstractmethod
    def draw(self, draws: Draws, n: int) -> Tensor:
        """Conditions (n, ...) to ask of n fakes."""

    @abstractmethod
    def encoder(self) -> Callable[[Tensor], Tensor]:
        """A function from conditions (n, ...) to vectors (n, features)."""

    @abstractmethod
    def layer(self, out_features: int, *, bias: bool = True) -> nn.Module:
        """A layer from conditions (n, ...) to (n, out_features)."""

    @abstractmethod
    def start_at(self, value: float, layer: nn.Module, *, spread: float = 0.0) -> None:
        """Let a layer of `layer` begin with one output for all conditions.

        Args:
            value: that output.
            layer: is changed in place.
            spread: standard deviation around it, where every condition has an output of its own.
        """


class Editable(Condition):
    """A condition that an item can be given in place of its own, one change at a time.

    Attributes:
        names: of the changes: the classes, or each attribute.
    """

    names: tuple[str, ...]

    @abstractmethod
    def possible(self, own: Tensor) -> Tensor:
        """Whether each change is possible to items of conditions (n, ...): bool (n, K)."""

    @abstractmethod
    def changed(self, own: Tensor, choice: Tensor) -> Tensor:
        """Conditions (n, ...) after one change each, ``choice`` (n,) among the possible ones."""


class Classes(Editable):
    """One of K classes, int64 (n,).

    Args:
        num_classes: K.
        frequencies: "uniform": all classes are asked for equally often; "data": as often as the
            data have them.
        names: of the classes.
    """

    kind = "classes"
    shares: Tensor | None

    @checked
    def __init__(
        self,
        num_classes: Count,
        frequencies: Literal["uniform", "data"] = "uniform",
        names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.names = tuple(names) or tuple(f"class {k}" for k in range(num_classes))
        self.num_classes = self.features = num_classes
        self.register_buffer("shares", None)
        if frequencies == "data":
            self.shares = torch.full((num_classes,), 1 / num_classes, dtype=torch.float64)

    @classmethod
    def of_data(cls, spec: Any, frequencies: Literal["uniform", "data"] = "uniform") -> "Classes":
        """The classes of a data set.

        Args:
            spec: of the data, see `datamodules.base.DataSpec`.
            frequencies: see above.

        Raises:
            UserError: the data have no classes.
        """
        if not spec.num_classes:
            raise UserError(
                f"condition=classes needs classes and {spec.name} has none: choose a datamodule"
                " with class labels, or an unconditional gan such as sngan."
            )
        return cls(spec.num_classes, frequencies, spec.classes)

    @classmethod
    def where_known(
        cls, spec: Any, frequencies: Literal["uniform", "data"] = "uniform"
    ) -> "Classes | None":
        """The classes of a data set; None where it has none.

        Args:
            spec: of the data, see `datamodules.base.DataSpec`.
            frequencies: see above.
        """
        return cls.of_data(spec, frequencies) if spec.num_classes else None

    def fill(self, data: Any) -> None:
        """Count the labels, where their frequencies matter."""
        if self.shares is not None:
            counts = torch.zeros(self.num_classes, dtype=torch.float64)
            for items in data.real_batches(1024):
                counts += torch.bincount(items.label, minlength=self.num_classes)
            self.shares.copy_(counts / counts.sum())

    def of(self, reals: Items) -> Tensor:
        """Their labels."""
        return reals.label

    def draw(self, draws: Draws, n: int) -> Tensor:
        """Classes by their frequencies."""
        if self.shares is None:
            return draws.integers(n, self.num_classes)
        edges = self.shares.cumsum(0)[:-1].to(draws.device, torch.float32)
        return torch.bucketize(draws.uniform(n), edges, right=True)

    def possible(self, own: Tensor) -> Tensor:
        """Whether an item of class ``own`` (n,) can become one of each class: bool (n, K)."""
        return F.one_hot(own, self.num_classes) == 0

    def changed(self, own: Tensor, choice: Tensor) -> Tensor:
        """The classes (n,) chosen among the possible ones."""
        return choice

    def encoder(self) -> Callable[[Tensor], Tensor]:
        """One-hot vectors."""
        return partial(F.one_hot, num_classes=self.num_classes)

    def layer(self, out_features: int, *, bias: bool = True) -> nn.Module:
        """A table with a row for each class."""
        return nn.Embedding(self.num_classes, out_features)

    def start_at(self, value: float, layer: nn.Module, *, spread: float = 0.0) -> None:
        """Rows from N(value, spread^2)."""
        if spread:
            nn.init.normal_(layer.get_parameter("weight"), mean=value, std=spread)
        else:
            nn.init.constant_(layer.get_parameter("weight"), value)


class MovingClasses(Classes):
    """Classes of items that change while a game is played: not the data's field, but a table.

    Args:
        num_classes: K.
        num_items: N of the data.
        frequencies: of `Classes`.
    """

    ids: Tensor

    def __init__(
        self,
        num_classes: int,
        num_items: int,
        frequencies: Literal["uniform", "data"] = "data",
    ) -> None:
        super().__init__(num_classes, frequencies)
        self.register_buffer("ids", torch.zeros(num_items, dtype=torch.int64))

    @classmethod
    def of_data(
        cls, spec: Any, frequencies: Literal["uniform", "data"] = "data"
    ) -> "MovingClasses":
        """Begin with the classes of a data set, see `Classes.of_data`."""
        return cls(Classes.of_data(spec).num_classes, spec.num_items, frequencies)

    def fill(self, data: Any) -> None:
        """Take the labels."""
        self.move(torch.cat([items.label for items in data.real_batches(1024)]))

    def move(self, ids: Tensor) -> None:
        """Give all items other classes (N,)."""
        self.ids.copy_(ids)
        if self.shares is not None:
            counts = ids.bincount(minlength=self.num_classes)
            self.shares.copy_(counts / counts.sum(dtype=torch.float64))

    def of(self, reals: Items) -> Tensor:
        """Their classes as they are now."""
        return self.ids[reals.index]


class Vectors(Condition):
    """A vector (n, d): a feature, a soft assignment. Those of fakes are drawn from a bank.

    Args:
        features: d.
        bank_size: rows N of the bank, which `fill` takes from the data.
    """

    kind = "vectors"
    #: The field of the data that holds them.
    field: ClassVar[str] = "vector"
    bank: Tensor

    def __init__(self, features: int, bank_size: int) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("bank", torch.zeros(bank_size, features))

    @classmethod
    def of_data(cls, spec: Any) -> "Vectors":
        """The vectors that come with the items of a data set, see `Classes.of_data`.

        Raises:
            UserError: there are none.
        """
        fields = {name: shape for name, shape in spec.fields.items() if 0 not in shape}
        if cls.field not in fields:
            raise UserError(
                f"condition={cls.kind} needs items with the field {cls.field}, and those of"
                f" {spec.name} have {', '.join(fields)}: choose another datamodule, or join"
                " one by datamodule=relabelled."
            )
        return cls(fields[cls.field][0], spec.num_items)

    def fill(self, data: Any) -> None:
        """Take the field of every item."""
        rows = [items[self.field].float() for items in data.real_batches(1024)]
        self.bank.copy_(torch.cat(rows))

    def of(self, reals: Items) -> Tensor:
        """The field of the items."""
        return reals[self.field].float()

    def draw(self, draws: Draws, n: int) -> Tensor:
        """Rows of the bank, each equally probable."""
        rows = draws.integers(n, len(self.bank))
        return self.bank[rows.to(self.bank.device)].to(draws.device)

    def encoder(self) -> Callable[[Tensor], Tensor]:
        """The vectors themselves."""
        return Tensor.float

    def layer(self, out_features: int, *, bias: bool = True) -> nn.Module:
        """A linear layer."""
        return nn.Linear(self.features, out_features, bias=bias)

    def start_at(self, value: float, layer: nn.Module, *, spread: float = 0.0) -> None:
        """Weights 0 and the value as bias: training starts as if there were no condition."""
        nn.init.zeros_(layer.get_parameter("weight"))
        nn.init.constant_(layer.get_parameter("bias"), value)


class Attributes(Vectors):
    """Binary attributes, float (n, A) of 0 and 1; fakes are asked for those of a random item."""

    kind = "attributes"
    field = "attributes"
