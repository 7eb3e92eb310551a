"""A process of several that vanishes or freezes ends the run, and the last line says which it was.

Without this the others wait for it until the backend gives up, or end in tracebacks of the backend.
Who has started the others sees their end at once. Beyond that, each process counts its heartbeats
in the store where all of them have met: the first looks at everyone's, the others at the first's,
so that it works on several machines, whatever has started the processes.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytorch_lightning as pl
import torch.distributed
from lightning_fabric.plugins.environments import TorchElasticEnvironment

from saddlepoint.errors import UserError

#: Seconds between two looks at the others; one that ended is told within three of these.
EVERY = 1.0
#: Exit code where a process was lost.
LOST = 1
#: Tells the processes that the first one starts which one that is.
FIRST = "SADDLEPOINT_FIRST_PROCESS"


@contextlib.contextmanager
def none_is_lost(trainer: pl.Trainer, folder: Path) -> Iterator[None]:
    """End this process with one sentence and exit code 1 when another of the run is lost.

    One that ends is told at once where the first process of a machine has started it; one that
    freezes, or a machine that is gone, after ``trainer.strategy.timeout_s`` seconds.

    Args:
        trainer: that is about to start the others.
        folder: of the run, to be resumed.
    """
    if trainer.world_size == 1:
        yield
        return
    watch = _Watch(trainer, folder)
    if watch.is_first:
        os.environ[FIRST] = watch.first
    watch.start()
    try:
        yield
        if torch.distributed.is_initialized():
            watch.over = not watch.is_first  # the first one may end before this one does
            trainer.strategy.barrier()
    except BaseException as error:
        if _is_of_the_backend(error):
            time.sleep(3 * EVERY)  # perhaps who is lost is known by then, and told
            watch.end("a process vanished or did not answer")
        for process in watch.started:
            process.kill()  # it would wait for this one
        raise
    finally:
        watch.over = True
        if watch.pulse is not None:
            watch.pulse.over = True


def _is_of_the_backend(error: BaseException) -> bool:
    if isinstance(error, UserError) or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


class _Watch(threading.Thread):
    def __init__(self, trainer: pl.Trainer, folder: Path) -> None:
        super().__init__(daemon=True)
        self.trainer, self.folder, self.over = trainer, folder, False
        self.is_first = trainer.local_rank == 0
        self.first = str(os.getpid()) if self.is_first else os.environ.get(FIRST)
        # Torchrun's processes would live on without it.
        self.launcher = os.getppid() if TorchElasticEnvironment.detect() else None
        self.pulse: _Pulse | None = None
        self.kills_first = False

    @property
    def started(self) -> list:
        """The processes that this one has started."""
        return getattr(self.trainer.strategy.launcher, "procs", None) or []

    def run(self) -> None:
        while not self.over:
            time.sleep(EVERY)
            if self.launcher not in (None, os.getppid()):
                self.end("torchrun vanished")
            elif self.launcher is None and self.is_first:
                self._look_after_started()
            elif self.launcher is None and self.first not in (None, str(os.getppid())):
                self.end_of(0, "vanished")
            if self.pulse is None and not self.over and torch.distributed.is_initialized():
                self.pulse = _Pulse(self.trainer)
                self.pulse.start()
            if self.pulse is not None:
                self._look_at_hearts(self.pulse)

    def _look_after_started(self) -> None:
        codes = [process.poll() for process in self.started]
        for number, code in enumerate(codes, 1):
            if code and not self.over:
                if code > 0:  # it has said why, as this process perhaps does, too
                    time.sleep(2 * EVERY)
                    how = f"ended with exit code {code}, see above"
                else:
                    how = f"was ended by {signal.Signals(-code).name}"
                self.end_of(self._first_of_machine + number, how)

    def _look_at_hearts(self, pulse: "_Pulse") -> None:
        timeout = self.trainer.strategy.timeout_s
        silent = [rank for rank, when in pulse.heard.items() if time.monotonic() - when > timeout]
        if silent:
            self.kills_first = not self.is_first  # frozen, it would never end
            self.end_of(silent[0], f"was silent for {timeout:g} s")
        if pulse.is_told:  # the first process says who is lost
            time.sleep(3 * EVERY)
            self.end(None)

    @property
    def _first_of_machine(self) -> int:
        return self.trainer.global_rank - self.trainer.local_rank

    def end_of(self, rank: int, how: str) -> None:
        """End because of one rank."""
        self.end(f"rank {rank} of {self.trainer.world_size} {how}")

    def end(self, what: str | None) -> None:
        """End this process and those that wait for it, unless the run is over; say why."""
        if self.over:
            return
        if self.trainer.global_rank == 0 and self.pulse is not None:
            self.pulse.tell = True
            time.sleep(2 * EVERY)
        for process in self.started:
            process.kill()
        if self.launcher is None and self.kills_first and self.first == str(os.getppid()):
            os.kill(os.getppid(), signal.SIGKILL)
        sys.stdout.flush()
        if what is not None:
            print(
                f"error: {what}, and the run with it: resume it with python"
                f" train.py ckpt={self.folder}",
                file=sys.stderr,
                flush=True,
            )
        os._exit(LOST)


class _Pulse(threading.Thread):
    """Counts heartbeats in the store; a thread of its own, since a frozen store never answers.

    Attributes:
        heard: when the heart of each rank looked at was last known to beat.
        over: set when the run is, so that nobody asks a store that is gone.
        tell: set by the first process to let the others know that it ends the run.
        is_told: whether it does.
    """

    def __init__(self, trainer: pl.Trainer) -> None:
        super().__init__(daemon=True)
        self.rank = trainer.global_rank
        looked_at = range(1, trainer.world_size) if self.rank == 0 else (0,)
        self.heard = dict.fromkeys(looked_at, time.monotonic())
        self.tell = self.is_told = self.over = False

    def run(self) -> None:
        beats = dict.fromkeys(self.heard, 0)
        with contextlib.suppress(RuntimeError):  # the store is gone, and so is who kept it
            store = torch.distributed.distributed_c10d._get_default_store().clone()
            while not self.over:
                store.add(f"heart of {self.rank}", 1)
                for rank in self.heard:
                    counted = store.add(f"heart of {rank}", 0)
                    if counted > beats[rank]:
                        beats[rank], self.heard[rank] = counted, time.monotonic()
                self.is_told = store.add("end", int(self.tell)) > 0 and self.rank > 0
                time.sleep(EVERY)
