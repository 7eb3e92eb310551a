"""How far training has come, on the terminal or in a log file."""

import time
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from saddlepoint.evaluation.callback import ScoreCallback
from saddlepoint.evaluation.progress_lines import WATCHING
from saddlepoint.gans import Game
from saddlepoint.runs.callbacks import callback_of
from saddlepoint.runs.progress import output

REDRAW_EVERY = 0.2  # seconds, on a terminal
PRINT_EVERY = 15.0  # seconds, in a log file
WIDTH = 80  # characters of a line in a log file
SHORTEST_BAR, LONGEST_BAR = 8, 40


class StatusLine(pl.Callback):
    """A progress bar on a terminal; a line every so often where output goes to a file.

    Args:
        console: where to print; standard output by default.
    """

    counts_iterations = True  # see gans/stretch.py

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or output()
        self._bar: Progress | None = None
        self._scoring = ""

    def on_train_start(self, trainer: pl.Trainer, game: Game) -> None:
        """Show the bar."""
        self._start = self._last_shown = time.monotonic()
        self._start_iteration = game.iteration
        if not trainer.is_global_zero or not self.console.is_terminal:
            return
        spare = max(0, self.console.width - WIDTH)
        bar = min(LONGEST_BAR, SHORTEST_BAR + spare // 2)
        others = len(f"{game.iterations:,}/{game.iterations:,}   0:00:00")  # and blanks between
        self._bar = Progress(
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            BarColumn(bar_width=bar),
            _Status(self, game, self.console.width - bar - others),
            TimeRemainingColumn(compact=True),
            console=self.console,
        )
        self._task = self._bar.add_task("", total=game.iterations, completed=game.iteration)
        self._bar.start()
        WATCHING.append(self._score)

    def on_train_batch_end(self, trainer: pl.Trainer, game: Game, *_: Any) -> None:
        """Redraw when due."""
        self._scoring = ""
        now = time.monotonic()
        due = now - self._last_shown > (REDRAW_EVERY if self._bar else PRINT_EVERY)
        if not (due or game.iteration == game.iterations) or not trainer.is_global_zero:
            return
        self._last_shown = now
        if self._bar:
            self._bar.update(self._task, completed=game.iteration)
        else:
            left = (game.iterations - game.iteration) / max(self.rate(game), 1e-9)
            counter = f"{game.iteration:,}/{game.iterations:,}"
            room = WIDTH - len(f"{counter}  {_clock(left)} left")
            line = f"{counter} {self.line(game, room)} {_clock(left)} left"
            self.console.print(line, soft_wrap=True)

    def rate(self, game: Game) -> float:
        """Iterations per second since training started here."""
        seconds = time.monotonic() - self._start
        return (game.iteration - self._start_iteration) / max(seconds, 1e-9)

    def line(self, game: Game, room: int) -> str:
        """Return kimg, speed, the last score and the players' summed losses, or how scoring goes.

        Args:
            game: that is played.
            room: characters there are; players are called by their initials, or losses left out,
                where it does not suffice.
        """
        if self._scoring:
            return self._scoring
        totals: dict[str, float] = {}
        for name, value in game.last_losses.items():
            player = name.split("/")[0]
            totals[player] = totals.get(player, 0.0) + value
        speed = f"{game.kimg:,.1f} kimg {self.rate(game):.1f} it/s"
        scores = callback_of(game.trainer, ScoreCallback)
        last = list(scores.last_scores.items())[:1] if scores is not None else []
        score = "".join(f"{name} {value:.4g}" for name, value in last)
        initials = ["".join(word[0].upper() for word in player.split("_")) for player in totals]
        for names in (totals, initials, ()):
            losses = " ".join(f"{n} {v:.3f}" for n, v in zip(names, totals.values(), strict=False))
            line = " · ".join(part for part in (speed, losses, score) if part)
            if len(line) <= room:
                break
        return line

    def _score(self, what: str, done: int, total: int) -> None:
        self._scoring = f"scoring: {what} {done:,}/{total:,}"

    def teardown(self, trainer: pl.Trainer, game: Game, stage: str) -> None:
        """Leave the terminal as it was."""
        if self._bar:
            self._bar.stop()
            self._bar = None
            WATCHING.remove(self._score)


class _Status(ProgressColumn):
    def __init__(self, owner: StatusLine, game: Game, room: int) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self.owner, self.game, self.room = owner, game, room

    def render(self, task: Task) -> Text:
        return Text(self.owner.line(self.game, self.room))


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
