"""A process of several that vanishes ends the run, and the last line says which one it was.

Without this the others wait for it until the backend gives up, or end in tracebacks of the backend.
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

from saddlepoint.errors import UserError

#: Seconds between two looks at the others; a lost one is told within three of these.
EVERY = 1.0
#: Exit code where a process was lost.
LOST = 1
#: Tells the processes that the first one starts which one that is.
FIRST = "SADDLEPOINT_FIRST_PROCESS"


@contextlib.contextmanager
def none_is_lost(trainer: pl.Trainer, folder: Path) -> Iterator[None]:
    """End this process with one sentence and exit code 1 when another of the run vanishes.

    It looks after processes that the first one of a machine has started, and these after that one;
    where something else starts them (torchrun, a cluster) that is its task.

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
        if isinstance(error, RuntimeError) and not isinstance(error, UserError):
            time.sleep(3 * EVERY)  # perhaps the backend missed another process: then that is told
        for process in watch.started:
            process.kill()  # it would wait for this one
        raise
    finally:
        watch.over = True


class _Watch(threading.Thread):
    def __init__(self, trainer: pl.Trainer, folder: Path) -> None:
        super().__init__(daemon=True)
        self.trainer, self.folder, self.over = trainer, folder, False
        self.is_first = trainer.local_rank == 0
        self.first = str(os.getpid()) if self.is_first else os.environ.get(FIRST)

    @property
    def started(self) -> list:
        """The processes that this one has started."""
        return getattr(self.trainer.strategy.launcher, "procs", None) or []

    def run(self) -> None:
        while not self.over:
            time.sleep(EVERY)
            if self.is_first:
                self._look_after_started()
            elif self.first not in (None, str(os.getppid())) and not self.over:
                self._end(0, "vanished")

    def _look_after_started(self) -> None:
        codes = [process.poll() for process in self.started]
        for number, code in enumerate(codes, 1):
            if code and not self.over:
                if code > 0:  # it has said why, as this process perhaps does, too
                    time.sleep(2 * EVERY)
                    how = f"ended with exit code {code}, see above"
                else:
                    how = f"was ended by {signal.Signals(-code).name}"
                self._end(number, how)

    def _end(self, number: int, how: str) -> None:
        count, node = self.trainer.world_size, self.trainer.node_rank
        rank = node * (count // self.trainer.num_nodes) + number
        for process in self.started:
            process.kill()
        sys.stdout.flush()
        print(
            f"error: rank {rank} of {count} {how}, and the run with it: resume it with python"
            f" train.py ckpt={self.folder}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(LOST)
