"""Scores while training, and at the end; training never notices."""

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn

from saddlepoint.devices import device_name
from saddlepoint.evaluation.evaluator import ConstantImagesError
from saddlepoint.evaluation.fakes import GeneratorFakes
from saddlepoint.evaluation.interruption import ScoreInterruptedError, Stopped, never
from saddlepoint.records.origin import origin
from saddlepoint.records.reading import read_records
from saddlepoint.records.record import FILE_NAME, append_record, make_record
from saddlepoint.schema import Count, checked

log = logging.getLogger(__name__)


class ScoreCallback(pl.Callback):
    """Scores the generator every so often and after the last iteration.

    The module that is trained has ``iteration`` and ``iterations`` (finished and all), ``kimg``,
    and what `evaluation.fakes.GeneratorFakes` wants of a game.

    Args:
        evaluator: an object of `evaluation.evaluator` or `evaluation.automatic`.
        every: iterations between scores; None scores only at the end.
        folder: of the run; gets ``records.jsonl``.
        run: what records say was trained: method, data, settings; plain values.
        seconds_before: wall-clock of the run before this process.
        stopped: asked before every batch of a score whether to give it up and end the training; who
            resumes makes that score up before anything else.

    Attributes:
        last_scores: {name: value}, empty before the first.
        history: records of this run under this protocol, those of earlier processes included.
        notes: what a user should know about the choice of scores.
        missing: iterations whose score was given up.
    """

    counts_iterations = True  # see gans/stretch.py

    @checked
    def __init__(
        self,
        evaluator: Any,
        every: Count | None,
        folder: str | Path,
        run: dict[str, Any] | None = None,
        seconds_before: float = 0.0,
        stopped: Stopped = never,
    ) -> None:
        self.evaluator = evaluator
        self.every = every
        self.path = Path(folder) / FILE_NAME
        self.run = run or {}
        self.seconds_before = seconds_before
        self.stopped = stopped
        self.last_scores: dict[str, float] = {}
        self.history: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.missing: list[int] = []

    def check(self, data: Any, game: Any = None) -> None:
        """Find out in a moment, before a run writes anything, whether its scores can be had.

        Args:
            data: the data module.
            game: what is to be trained; without it nobody knows what outputs are made from.

        Raises:
            UserError: weights of an extractor, images, or what outputs are compared with, are
                missing.
        """
        self.evaluator.check(data, None if game is None else GeneratorFakes(game, data))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Get ready: whatever is missing for a score shows now, not hours later.

        Real images are passed through the extractors with the first score. A score that the run was
        to have when it was stopped is made up.

        Raises:
            UserError: as `check` does.
            ScoreInterruptedError: given up before the training begins.
        """
        data = trainer.datamodule
        fakes = GeneratorFakes(pl_module, data)
        with untouched(pl_module):
            self.evaluator = self.evaluator.prepare(
                data, pl_module.device, fakes=fakes, stopped=self.stopped, reals_later=True
            )
        self.notes = [self.evaluator.note] if self.evaluator.note else []
        protocol = self.evaluator.protocol_for(fakes)
        self.history = [
            record
            for record in read_records(self.path)
            if (record.get("iteration") or 0) <= pl_module.iteration
            and protocol is not None
            and record["fingerprint"] == protocol.fingerprint
        ]
        for record in self.history:
            self.last_scores |= record["scores"]
        self._start = time.monotonic()
        known = [record["iteration"] for record in self.history]
        if pl_module.iteration and self._is_due(pl_module) and pl_module.iteration not in known:
            self.score(trainer, pl_module)
            if self.missing:
                raise ScoreInterruptedError

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Score when it is due."""
        if self._is_due(pl_module):
            self.score(trainer, pl_module)

    def _is_due(self, pl_module: pl.LightningModule) -> bool:
        due = bool(self.every) and pl_module.iteration % self.every == 0
        return due or pl_module.iteration == pl_module.iterations

    @property
    def seconds(self) -> float:
        """Wall-clock of the run so far, over all its processes."""
        return self.seconds_before + time.monotonic() - self._start

    def score(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        """Score now; log and record the result, if there is one; end the training if given up.

        Raises:
            UserError: the generator's images or their features are not finite.
        """
        try:
            with untouched(pl_module):
                fakes = GeneratorFakes(pl_module, trainer.datamodule)
                scores = self.evaluator.score(fakes)
        except ConstantImagesError as error:
            log.warning("Iteration %d has no score. %s", pl_module.iteration, error)
            return {}
        except ScoreInterruptedError:
            self.missing.append(pl_module.iteration)
            trainer.should_stop = True
            return {}
        if not scores.means:
            return {}
        self.last_scores |= scores.means
        for logger in trainer.loggers:
            numbers = {**scores.means, "kimg": pl_module.kimg}
            logger.log_metrics(numbers, step=pl_module.iteration)
        record = make_record(
            scores,
            iteration=pl_module.iteration,
            kimg=pl_module.kimg,
            seconds=self.seconds,
            run=self.run,
            made_by=origin(device_name(pl_module.device), trainer.world_size),
            parameters=fakes.parameters,
        )
        self.history.append(record)
        if trainer.is_global_zero:
            append_record(self.path, record)
        return scores.means


@contextlib.contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Leave global random numbers and the modes of all submodules as they are."""
    modes = {child: child.training for child in module.modules()}
    with isolate_rng(include_cuda=torch.cuda.is_initialized()):
        try:
            yield
        finally:
            for child, mode in modes.items():
                child.training = mode
