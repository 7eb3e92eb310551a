"""When a lazy Gaussian process learns its hyper-parameters anew.

Between two refits they stay what they are and the factor grows by rows, in O(n^2); a refit costs
some tens of O(n^3). A schedule is told the rows of the data and how well each row was foreseen.
"""

from abc import ABC, abstractmethod
from collections import deque

import numpy as np


class Schedule(ABC):
    """Says after each row whether a refit is due.

    Attributes:
        watches: whether it looks at how well targets were foreseen.
        refitted_at: rows at the last refit.
    """

    watches = False

    def __init__(self) -> None:
        self.refitted_at = 0

    @abstractmethod
    def is_due(self, rows: int) -> bool:
        """Whether to refit now that there are so many rows."""

    def foreseen(self, log_density: float) -> None:  # noqa: B027 - few need it
        """Take the log density of a target before it was seen."""

    def refitted(self, rows: int, log_densities: list[float]) -> None:
        """Take note of a refit.

        Args:
            rows: of the data.
            log_densities: of the last targets, each foreseen from all others.
        """
        self.refitted_at = rows


class Every(Schedule):
    """Every ``lag`` rows, beginning with the first; 1 is the classical procedure."""

    def __init__(self, lag: int) -> None:
        super().__init__()
        self.lag = lag

    def is_due(self, rows: int) -> bool:
        """See `Schedule`."""
        return (rows - 1) % self.lag == 0


class Geometric(Schedule):
    """Whenever the rows are ``ratio`` times those of the last refit.

    All refits up to n rows together cost a constant times the last, O(n^3): 7 times with 1.05.
    Until there are 20 rows, when a refit costs nothing, there is one for each.
    """

    def __init__(self, ratio: float = 1.05) -> None:
        super().__init__()
        self.ratio = ratio

    def is_due(self, rows: int) -> bool:
        """See `Schedule`."""
        return rows >= self.ratio * self.refitted_at


class DensityDrop(Schedule):
    """When the last ``window`` targets were foreseen worse, by ``nats``, than right after one."""

    watches = True

    def __init__(self, window: int = 10, nats: float = 1.0) -> None:
        super().__init__()
        self.nats = nats
        self.then = -np.inf
        self.recent: deque[float] = deque(maxlen=window)

    def is_due(self, rows: int) -> bool:
        """See `Schedule`; until there are ``window`` rows, after each of them."""
        if self.refitted_at < self.recent.maxlen:
            return True
        full = len(self.recent) == self.recent.maxlen
        return full and float(np.mean(self.recent)) < self.then - self.nats

    def foreseen(self, log_density: float) -> None:
        """See `Schedule`."""
        self.recent.append(log_density)

    def refitted(self, rows: int, log_densities: list[float]) -> None:
        """See `Schedule`."""
        super().refitted(rows, log_densities)
        self.recent.clear()
        self.then = float(np.mean(log_densities[-self.recent.maxlen :]))


def schedule_of(refit: int | str) -> Schedule:
    """The schedule that a setting names: ``geometric``, ``lml_drop``, or a lag."""
    if isinstance(refit, int):
        return Every(refit)
    return {"geometric": Geometric, "lml_drop": DensityDrop}[refit]()
