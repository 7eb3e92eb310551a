"""How far training has come, on the terminal or in a log file."""

import time
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from saddlepoint.evaluation.callback import ScoreCallback
from saddlepoint.gans import Game
from saddlepoint.runs.callbacks import callback_of
from saddlepoint.runs.progress import output

REDRAW_EVERY = 0.2  # seconds, on a terminal
PRINT_EVERY = 15.0  # seconds, in a log file


class StatusLine(pl.Callback):
    """A progress bar on a terminal; a line every so often where output goes to a file.

    Args:
        console: where to print; standard output by default.
    """

    counts_iterations = True  # see gans/stretch.py

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or output()
        self._bar: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        """Show the bar."""
        self._start = self._last_shown = time.monotonic()
        self._start_iteration = game.iteration
        if not trainer.is_global_zero or not self.console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            BarColumn(bar_width=None),
            _Status(self, game),
            TimeRemainingColumn(compact=True),
            console=self.console,
        )
        self._task = self._bar.add_task("", total=game.iterations, completed=game.iteration)
        self._bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, *_: Any) -> None:
        """Redraw when due."""
        now = time.monotonic()
        due = now - self._last_shown > (REDRAW_EVERY if self._bar else PRINT_EVERY)
        if not trainer.is_global_zero or not (due or game.iteration == game.iterations):
            return
        self._last_shown = now
        if self._bar:
            self._bar.update(self._task, completed=game.iteration)
        else:
            left = (game.iterations - game.iteration) / max(self.rate(game), 1e-9)
            counter = f"{game.iteration:,}/{game.iterations:,}"
            self.console.print(f"{counter} {self.line(game)} {_clock(left)} left")

    def rate(self, game: Game) -> float:
        """Iterations per second since training started here."""
        seconds = time.monotonic() - self._start
        return (game.iteration - self._start_iteration) / max(seconds, 1e-9)

    def line(self, game: Game) -> str:
        """Return kimg, speed, the players' summed losses, and the last score."""
        totals: dict[str, float] = {}
        for name, value in game.last_losses.items():
            player = name.split("/")[0]
            totals[player] = totals.get(player, 0.0) + value
        losses = " ".join(f"{player} {value:.3f}" for player, value in totals.items())
        speed = f"{game.kimg:,.1f} kimg {self.rate(game):.1f} it/s"
        scores = callback_of(game.trainer, ScoreCallback)
        last = list(scores.last_scores.items())[:1] if scores is not None else []
        score = "".join(f"{name} {value:.4g}" for name, value in last)
        return " · ".join(part for part in (speed, losses, score) if part)

    def teardown(self, trainer: pl.Trainer, game: Game, stage: str) -> None:
        """Leave the terminal as it was."""
        if self._bar:
            self._bar.stop()
            self._bar = None


class _Status(ProgressColumn):
    def __init__(self, owner: StatusLine, game: Game) -> None:
        super().__init__()
        self.owner, self.game = owner, game

    def render(self, task: Task) -> Text:
        return Text(self.owner.line(self.game))


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
