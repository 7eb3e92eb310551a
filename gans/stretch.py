"""Several iterations in one step of the trainer, which pays for its own bookkeeping once.

What Lightning does around a step (hooks, connectors, progress, profilers) takes as long as a pass
of a small network. Between two iterations of a stretch the game itself does the part of it that a
run means something by: it calls the callbacks, as often and in the order that Lightning would.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.profilers import PassThroughProfiler

#: Iterations of a stretch.
LENGTH = 100
HOOKS = ("on_train_batch_start", "on_train_batch_end")

#: What one iteration needs, or for each iteration of a stretch a function that fetches it.
Blocks = dict[str, Any] | list[Callable[[], dict[str, Any]]]


class InStretches(pl.LightningModule):
    """A module that plays one iteration on a block, `play`, and a stretch of them in a step."""

    @abstractmethod
    def play(self, block: dict[str, Any]) -> None:
        """Play one iteration."""

    def on_train_batch_start(self, batch: Blocks, batch_idx: int) -> int | None:
        """Play all iterations of a stretch but the last, which is `training_step`'s.

        Returns:
            -1 if a callback has ended the training in between: the trainer then goes no further.
        """
        trainer: Any = self.trainer  # whose class does not declare callbacks
        for fetch in [] if isinstance(batch, dict) else batch[:-1]:
            self.play(fetch())
            for callback in trainer.callbacks:
                callback.on_train_batch_end(trainer, self, None, batch, batch_idx)
            if trainer.should_stop:
                return -1
            for callback in trainer.callbacks:
                callback.on_train_batch_start(trainer, self, batch, batch_idx)
        return None

    def training_step(self, batch: Blocks, batch_idx: int) -> None:
        """Play one iteration, the last of its stretch."""
        self.play(batch if isinstance(batch, dict) else batch[-1]())

    def iterations_per_step(self, trainer: Any) -> int:
        """How many iterations a step of the trainer may hold.

        One, as soon as something may go by the trainer's steps: its limits, profiler or precision,
        hooks of the game, or of a callback that does not say ``counts_iterations = True``. The
        hooks of one that does are called in every iteration, too; it promises not to read the
        batch, its index, or the trainer's counters, and to log by ``trainer.loggers``, not `log`.
        """
        is_limited = trainer.limit_train_batches != 1.0 or trainer.max_steps > 0
        others = [c for c in trainer.callbacks if not getattr(c, "counts_iterations", False)]
        goes_by_steps = (
            is_limited
            or trainer.fast_dev_run
            or trainer.precision != "32-true"
            or not isinstance(trainer.profiler, PassThroughProfiler)
            or any(_has_hooks(callback, pl.Callback) for callback in others)
            or _has_hooks(self, InStretches)
        )
        return 1 if goes_by_steps else LENGTH


def _has_hooks(owner: object, base: type) -> bool:
    """Whether its class defines hooks around a step that are not those of a base class."""
    names = (*HOOKS, "training_step") if isinstance(owner, InStretches) else HOOKS
    return any(getattr(type(owner), name) is not getattr(base, name) for name in names)
