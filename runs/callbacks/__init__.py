"""What else happens in a run than the game; conf/callbacks/default.yaml has the order."""

from typing import TypeVar

import pytorch_lightning as pl

Kind = TypeVar("Kind", bound=pl.Callback)


def callback_of(trainer: pl.Trainer, kind: type[Kind]) -> Kind | None:
    """The trainer's callback of a kind, if it has one."""
    return next((callback for callback in trainer.callbacks if isinstance(callback, kind)), None)
