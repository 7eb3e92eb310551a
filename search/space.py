"""What is searched: parameters, and their places in the unit cube.

A whole number, a step of a range and a choice have several places; `Space.snap` moves a point to
the one that its values are encoded as. Models see snapped points only: two points that mean
the same run are the same point.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from saddlepoint.errors import UserError

Value = float | int | str
Values = dict[str, Value]

#: Digits of a number that is suggested: enough for any setting, few enough to read.
DIGITS = 6


@dataclass(frozen=True)
class Interval:
    """Numbers from ``low`` to ``high``, affine in the number or its logarithm.

    Attributes:
        key: setting, as on the command line.
        low: least number.
        high: largest number.
        log: whether equal factors, and not equal differences, are equally far.
        whole: whether only whole numbers count.
    """

    key: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    columns: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse an interval without an inside.

        Raises:
            UserError: names the setting.
        """
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise UserError(
                f"{self.key} has no interval from {self.low} to {self.high}: give two numbers, the"
                " smaller one first."
            )
        if self.log and self.low <= 0:
            raise UserError(
                f"{self.key} has no logarithm at {self.low}: let its interval begin above 0."
            )

    @property
    def points(self) -> float:
        """How many values there are."""
        return self.high - self.low + 1 if self.whole else math.inf

    def encode(self, value: Value) -> list[float]:
        """The place of a value."""
        low, high = self._ends()
        return [(self._scaled(float(value)) - low) / (high - low)]

    def decode(self, place: Sequence[float]) -> Value:
        """The value at a place in [0, 1]."""
        low, high = self._ends()
        number = low + float(place[0]) * (high - low)
        number = math.exp(number) if self.log else number
        return self.written(number)

    def written(self, number: float) -> Value:
        """The nearest value, with few digits where it is no whole number."""
        if self.whole:
            return int(min(max(round(number), self.low), self.high))
        return min(max(float(f"{number:.{DIGITS}g}"), self.low), self.high)

    def _ends(self) -> tuple[float, float]:
        half = 0.5 if self.whole else 0.0  # the first and the last number get as much as the others
        return self._scaled(self.low - half), self._scaled(self.high + half)

    def _scaled(self, number: float) -> float:
        return math.log(number) if self.log else number


@dataclass(frozen=True)
class Steps:
    """Numbers in equal steps, in their order.

    Attributes:
        key: setting, as on the command line.
        values: as they are written there.
    """

    key: str
    values: tuple[str, ...]

    columns: ClassVar[int] = 1

    @property
    def points(self) -> float:
        """How many values there are."""
        return len(self.values)

    def encode(self, value: Value) -> list[float]:
        """The place of a value."""
        return [(self.values.index(str(value)) + 0.5) / len(self.values)]

    def decode(self, place: Sequence[float]) -> Value:
        """The value at a place in [0, 1]."""
        return self.values[min(int(place[0] * len(self.values)), len(self.values) - 1)]


@dataclass(frozen=True)
class Choice:
    """Values without an order, all equally far from each other: a column for each.

    Attributes:
        key: setting, as on the command line.
        values: as they are written there.
    """

    key: str
    values: tuple[str, ...]

    #: Two choices are then as far from each other as the two ends of an interval.
    HEIGHT: ClassVar[float] = math.sqrt(0.5)

    @property
    def columns(self) -> int:
        """Dimensions of the cube that it takes."""
        return len(self.values)

    @property
    def points(self) -> float:
        """How many values there are."""
        return len(self.values)

    def encode(self, value: Value) -> list[float]:
        """The place of a value."""
        place = [0.0] * len(self.values)
        place[self.values.index(str(value))] = self.HEIGHT
        return place

    def decode(self, place: Sequence[float]) -> Value:
        """The value at a place in [0, 1]^k: that of the largest coordinate."""
        return self.values[int(np.argmax(place))]


Parameter = Interval | Steps | Choice


@dataclass(frozen=True)
class Space:
    """Parameters in the order of their columns.

    Attributes:
        parameters: what is searched.
    """

    parameters: tuple[Parameter, ...]

    @property
    def keys(self) -> list[str]:
        """Settings that are searched."""
        return [parameter.key for parameter in self.parameters]

    @property
    def columns(self) -> int:
        """Dimensions of the cube."""
        return sum(parameter.columns for parameter in self.parameters)

    @property
    def points(self) -> float:
        """How many different points there are."""
        return math.prod(parameter.points for parameter in self.parameters)

    @property
    def is_continuous(self) -> NDArray[np.bool_]:
        """Of each column (d,), whether it may be moved a little."""
        return np.repeat(
            [isinstance(p, Interval) and not p.whole for p in self.parameters],
            [p.columns for p in self.parameters],
        )

    def encode(self, values: Mapping[str, Value]) -> NDArray[np.float64]:
        """The place (d,) of values."""
        places = [place for p in self.parameters for place in p.encode(values[p.key])]
        return np.array(places)

    def decode(self, place: NDArray[np.float64]) -> Values:
        """The values at a place (d,)."""
        values: Values = {}
        column = 0
        for parameter in self.parameters:
            values[parameter.key] = parameter.decode(place[column : column + parameter.columns])
            column += parameter.columns
        return values

    def snap(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Move points (m, d) to where their values are encoded; numbers keep all their digits."""
        snapped = places.copy()
        column = 0
        for p in self.parameters:
            block = slice(column, column + p.columns)
            if not isinstance(p, Interval) or p.whole:
                snapped[:, block] = [p.encode(p.decode(place)) for place in places[:, block]]
            column += p.columns
        return snapped

    def description(self) -> list[dict[str, Any]]:
        """Plain values that two spaces share if they are the same."""
        return [{"kind": type(p).__name__.lower(), **_plain(asdict(p))} for p in self.parameters]


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in fields.items()}
