"""The score that a run is searched by: a number that knows its name and which way it is better."""

from collections.abc import Mapping
from typing import Any


class Objective(float):
    """A number for everybody, with what a search has to know of it.

    Attributes:
        name: of the score.
        direction: "smaller" or "larger", whichever is better.
    """

    name: str
    direction: str

    def __new__(cls, value: float, name: str = "", direction: str = "") -> "Objective":
        """Make it of a value; processes hand it over whole."""
        made = super().__new__(cls, value)
        made.name, made.direction = name, direction
        return made


def first_score(scores: Mapping[str, Any], directions: Mapping[str, str]) -> Objective | None:
    """The first of some values that is a score, as `record.cost` has it; None if none is.

    Args:
        scores: {name: value}.
        directions: {name: which way it is better}; a value without one is no score.
    """
    for name, value in scores.items():
        if name in directions:
            return Objective(value, name, directions[name])
    return None
