"""The checkpoint that a run resumes from: every so often, at the end, and when it is to stop."""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from saddlepoint.gans import Game
from saddlepoint.runs.current_run import CurrentRun
from saddlepoint.schema import Count, checked

#: Notices of a scheduler that this process will be preempted, or has little time left.
NOTICES = (signal.SIGUSR1, signal.SIGUSR2)
#: What ends a run in order: those, a cluster's SIGTERM, and Ctrl-C.
SIGNALS = (signal.SIGTERM, signal.SIGINT, *NOTICES)


class LastCheckpoint(pl.Callback):
    """Keeps ``last.ckpt`` of a run; turns `SIGNALS` into a checkpoint and a clean end.

    Args:
        run: whose it is.
        every: iterations between two writes.
    """

    counts_iterations = True  # see gans/stretch.py

    @checked
    def __init__(self, run: CurrentRun, every: Count) -> None:
        self.run, self.every = run, every
        self._saved: int | None = None  # iteration of the last write

    def setup(self, trainer: pl.Trainer, game: Game, stage: str) -> None:
        """Listen for a cluster's preemption notice and for Ctrl-C; first scores may take long."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._stop)

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        """Listen again: by now the trainer does."""
        self.setup(trainer, game, "fit")

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.run.stopped_by and number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C does not wait for the iteration to end
        self.run.stopped_by = signal.Signals(number).name

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, *_: Any) -> None:
        """Write when due; after a signal, write and end the training."""
        stop = self.run.stopped_by is not None
        if trainer.world_size > 1:
            # Ranks hear of a signal at different iterations; they agree now and then, not always.
            agree = game.iteration % game.log_every == 0
            stop = agree and trainer.strategy.reduce_boolean_decision(stop, all=False)
            if stop:  # whichever process the signal came to, the run was stopped
                self.run.stopped_by = self.run.stopped_by or signal.SIGTERM.name
        if stop or game.iteration % self.every == 0 or game.iteration == game.iterations:
            self._save(trainer, game)
        if stop:
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, game: Game) -> None:
        """Write what is not yet written, where another callback has ended the training."""
        if self._saved != game.iteration:
            self._save(trainer, game)

    def _save(self, trainer: pl.Trainer, game: Game) -> None:
        self.run.save(trainer, game)
        self._saved = game.iteration


@contextlib.contextmanager
def signals_given_back() -> Iterator[None]:
    """Let who listens within listen no longer afterwards, whatever happens."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:  # one that Python has not set
                    signal.signal(number, handler)


def hand_over(number: signal.Signals) -> None:
    """Let who listened to a scheduler's notice before this run act on it, now that all is saved.

    Submitit's jobs do: they requeue themselves and exit. A requeue ends all processes of the job,
    at times the very one that asks for it before that has come back: no failure of the run's.
    """
    handler = signal.getsignal(number)
    if number not in NOTICES or not callable(handler):
        return
    try:
        handler(number, None)
    except subprocess.CalledProcessError as error:
        if error.returncode != -signal.SIGTERM:
            raise
        sys.exit(-1)  # as Submitit does after a requeue
