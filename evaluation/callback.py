"""Scores while training, and at the end; training never notices."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn

from evaluation.record import FILE_NAME, append_record, make_record, read_records


class ScoreCallback(pl.Callback):
    """Scores the generator every so often and after the last iteration.

    The module that is trained has ``iteration`` and ``iterations`` (finished and all), ``kimg``,
    and ``sample(n, start=..., seed=...)``, which gives float images in [-1, 1] that depend on their
    positions alone; ``moving_average`` is None if the raw weights are sampled.

    Args:
        metrics: what to compute: objects of `evaluation.score` or `evaluation.automatic`.
        every: iterations between scores; None scores only at the end.
        folder: of the run; gets ``records.jsonl``.
        run: what records say was trained: method, data, settings; plain values.
        seconds_before: wall-clock of the run before this process.

    Attributes:
        last_scores: {name: value}, empty before the first.
        history: records of this run so far, those of earlier processes included.
        notes: what a user should know about the choice of scores.
    """

    def __init__(
        self,
        metrics: Any | Sequence[Any],
        every: int | None,
        folder: str | Path,
        run: dict[str, Any] | None = None,
        seconds_before: float = 0.0,
    ) -> None:
        self.metrics = list(metrics) if isinstance(metrics, Sequence) else [metrics]
        self.every = every
        self.path = Path(folder) / FILE_NAME
        self.run = run or {}
        self.seconds_before = seconds_before
        self.last_scores: dict[str, float] = {}
        self.history: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def check(self, data: Any) -> None:
        """Find out in a moment, before a run writes anything, whether its scores can be had.

        Args:
            data: the data module.

        Raises:
            UserError: weights of an extractor, or images, are missing.
        """
        for metric in self.metrics:
            metric.check(data)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Get ready: whatever is missing for a score shows now, not hours later.

        Raises:
            UserError: as `check` does.
        """
        with untouched(pl_module):
            self.metrics = [m.prepare(trainer.datamodule, pl_module.device) for m in self.metrics]
        self.notes = [metric.note for metric in self.metrics if metric.note]
        earlier = read_records(self.path)
        self.history = [r for r in earlier if r["iteration"] <= pl_module.iteration]
        for record in self.history:
            self.last_scores |= record["scores"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The clock of the run starts here."""
        self._start = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Score when it is due."""
        due = bool(self.every) and pl_module.iteration % self.every == 0
        if due or pl_module.iteration == pl_module.iterations:
            self.score(trainer, pl_module)

    def score(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        """Score now; log and record the result.

        Raises:
            UserError: the generator's images or their features are not finite.
        """
        for metric in self.metrics:
            with untouched(pl_module):
                scores = metric.score(_sampler(pl_module, metric))
            if not scores:
                continue
            self.last_scores |= scores
            for logger in trainer.loggers:
                logger.log_metrics(scores, step=pl_module.iteration)
            raw = getattr(pl_module, "moving_average", None) is None
            record = make_record(
                scores,
                metric.protocol_for("raw" if raw else "ema"),
                iteration=pl_module.iteration,
                kimg=pl_module.kimg,
                seconds=self.seconds_before + time.monotonic() - self._start,
                run=self.run,
                device=pl_module.device,
                devices=trainer.world_size,
            )
            self.history.append(record)
            if trainer.is_global_zero:
                append_record(self.path, record)
        return self.last_scores


def _sampler(pl_module: pl.LightningModule, metric: Any) -> Any:
    def sample(n: int, start: int) -> Tensor:
        return pl_module.sample(n, start=start, seed=metric.seed)

    return sample


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
