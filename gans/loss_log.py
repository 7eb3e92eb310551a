"""Losses as they come, kept on the device and read rarely."""

import math

import torch
from torch import Tensor

from saddlepoint.errors import UserError


class DivergedError(UserError):
    """A loss became NaN or infinite."""


class LossLog:
    """Collects the named losses of every update without waiting for the device.

    `read` fetches all of them at once. Whatever the time of reading, a bad loss is reported with
    the iteration it arose in.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[int, str, Tensor]] = []  # iteration, name, scalar
        self._checked = 0
        self.last: dict[str, float] = {}

    def add(self, iteration: int, player: str, losses: dict[str, Tensor]) -> None:
        """Keep the losses of one update; ``iteration`` counts from 0."""
        for name, loss in losses.items():
            self._pending.append((iteration, f"{player}/{name}", loss.detach()))

    def check(self) -> None:
        """Raise `DivergedError` if a loss since the last check is not finite (waits)."""
        fresh = self._pending[self._checked :]
        self._raise_if_bad(fresh, [loss.item() for _, _, loss in fresh])
        self._checked = len(self._pending)

    def read(self) -> dict[str, float]:
        """Return the mean of each loss since the last read, by name; empty if there is none.

        Raises:
            DivergedError: a loss is NaN or infinite.
        """
        if not self._pending:
            return {}
        pending, self._pending, self._checked = self._pending, [], 0
        values = torch.stack([loss for _, _, loss in pending]).tolist()
        self._raise_if_bad(pending, values)
        series: dict[str, list[float]] = {}
        for (_, name, _), value in zip(pending, values, strict=True):
            series.setdefault(name, []).append(value)
        self.last = {name: sum(v) / len(v) for name, v in series.items()}
        return self.last

    @staticmethod
    def _raise_if_bad(pending: list[tuple[int, str, Tensor]], values: list[float]) -> None:
        for (iteration, name, _), value in zip(pending, values, strict=True):
            if not math.isfinite(value):
                raise DivergedError(
                    f"The loss {name} became {value} in iteration {iteration + 1}: the run has"
                    " diverged; lower the learning rate or add a gradient penalty."
                )
