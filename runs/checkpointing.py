"""When checkpoints are written: every so often, at the end, and when the run is told to stop."""

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch

from saddlepoint.devices import device_name
from saddlepoint.gans import Game
from saddlepoint.gans.loss_log import DivergedError
from saddlepoint.records.origin import origin
from saddlepoint.runs import checkpoint_file


class Checkpointing(pl.Callback):
    """Keeps ``last.ckpt`` of a run; turns SIGTERM and Ctrl-C into a checkpoint and a clean end.

    Args:
        path: the checkpoint.
        every: iterations between two writes.
        header: what goes with the game's state: settings, command line, the data's description.
        seconds_before: wall-clock of the run before this process.
    """

    def __init__(
        self, path: Path, every: int, header: dict[str, Any], seconds_before: float = 0.0
    ) -> None:
        self.path, self.every, self.header = path, every, header
        self.seconds_before = seconds_before
        self.stopped_by: str | None = None
        self._handlers: dict[int, Any] = {}

    @property
    def seconds(self) -> float:
        """Wall-clock of the run so far, over all its processes."""
        return self.seconds_before + time.monotonic() - self._started

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        """Listen for a cluster's preemption notice and for Ctrl-C."""
        self._started = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._handlers[number] = signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.stopped_by and number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C does not wait for the iteration to end
        self.stopped_by = signal.Signals(number).name

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, *_: Any) -> None:
        """Write when due; after a signal, write and end the training."""
        stop = self.stopped_by is not None
        if trainer.world_size > 1:
            # Ranks hear of a signal at different iterations; they agree now and then, not always.
            agree = game.iteration % game.log_every == 0
            stop = agree and trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop or game.iteration % self.every == 0 or game.iteration == game.iterations:
            self.write(trainer, game)
        trainer.should_stop = trainer.should_stop or stop

    def write(self, trainer: pl.Trainer, game: Game, path: Path | None = None) -> None:
        """Write the checkpoint, unless the game has diverged: the last good one is kept.

        Args:
            trainer: plays the game.
            game: what is written.
            path: where to; ``last.ckpt`` by default.
        """
        game.read_losses()
        if not torch.stack([torch.isfinite(p).all() for p in game.parameters()]).all():
            raise DivergedError(
                f"The weights are not finite after iteration {game.iteration}: the run has"
                " diverged; lower the learning rate or add a gradient penalty."
            )
        if trainer.is_global_zero:
            made_by = origin(device_name(game.device), trainer.world_size)
            content = {
                **self.header,
                "game": game.state(),
                "seconds": self.seconds,
                "made_by": made_by,
            }
            checkpoint_file.save(path or self.path, content)

    def teardown(self, trainer: pl.Trainer, game: Game, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()
