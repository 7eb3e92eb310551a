"""Numbers that change while a run goes on: of learning rates, weights of terms, half-lives.

A schedule is a function of t = finished iterations / all iterations, in [0, 1].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from saddlepoint.errors import UserError

Schedule = Callable[[float], float]

#: Schedules by name; as those of a learning rate they are factors.
SCHEDULES: dict[str, Schedule] = {
    "constant": lambda t: 1.0,
    "linear": lambda t: 1.0 - t,
}


@dataclass(frozen=True)
class Piecewise:
    """Straight lines between points, and the nearest point's value outside of them.

    Attributes:
        points: pairs (t, value) in the order of t.
    """

    points: Sequence[Sequence[float]]

    def __call__(self, t: float) -> float:
        """The value at t."""
        before = [point for point in self.points if point[0] <= t]
        after = [point for point in self.points if point[0] > t]
        if not before or not after:
            return (before[-1:] or after[:1])[0][1]
        (start, low), (end, high) = before[-1], after[0]
        return low + (high - low) * (t - start) / (end - start)


def schedule_named(schedule: str | Schedule) -> Schedule:
    """A schedule by its name; one that is a function already is passed on.

    Raises:
        UserError: there is none of that name.
    """
    if callable(schedule):
        return schedule
    if schedule not in SCHEDULES:
        raise UserError(f"There is no schedule '{schedule}': choose of {', '.join(SCHEDULES)}.")
    return SCHEDULES[schedule]


def at(value: float | Schedule, t: float) -> float:
    """A number, or what its schedule says at t."""
    return value(t) if callable(value) else value
