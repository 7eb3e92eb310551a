"""The closing screen: what was trained, how good it is, and where everything lies."""

from collections.abc import Iterator

import pytorch_lightning as pl
from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from saddlepoint.evaluation.callback import ScoreCallback
from saddlepoint.gans import Game
from saddlepoint.records.record import FILE_NAME
from saddlepoint.runs.callbacks import callback_of
from saddlepoint.runs.callbacks.final_scores import FinalScores
from saddlepoint.runs.current_run import CurrentRun


def closing_screen(console: Console, run: CurrentRun, trainer: pl.Trainer, game: Game) -> None:
    """Print the screen.

    Args:
        console: where to.
        run: that is over.
        trainer: that played the game; its callbacks have the scores.
        game: what was trained.
    """
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    parameters = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in game.named_children()
        if name != "moving_average" and any(True for _ in module.parameters())
    }
    sizes = ", ".join(f"{name} {count:,}" for name, count in parameters.items())
    table.add_row("trained", f"{run.title}, seed {game.seed}")
    table.add_row("parameters", sizes)
    table.add_row(
        "length",
        f"{game.iteration:,} iterations, {game.kimg:,.1f} kimg in {duration(run.seconds)}",
    )
    for what, value in _scores(trainer):
        table.add_row(what, value)
    for what, path in (
        ("samples", run.folder / "samples"),
        ("scores", run.folder / FILE_NAME),
        ("losses", run.folder / "metrics.csv"),
        ("checkpoint", run.checkpoint),
    ):
        if path.exists():
            table.add_row(what, str(path))
    stopped = is_unfinished(trainer, game)
    if missing := missing_scores(trainer, game):
        table.add_row("missing", missing)
    heading = f"stopped by {run.stopped_by or 'a callback'}" if stopped else "finished"
    console.print(Panel(table, title=heading, box=box.ROUNDED, expand=False))
    # Outside the panel, which would break a command into lines.
    following = f"train.py ckpt={run.folder}" if stopped else f"sample.py run={run.folder}"
    what = "see more with" if not stopped else "go on with"
    if missing and game.iteration == game.iterations:
        what = "make them up with"
    console.print(f"{what}: python {following}", soft_wrap=True)


def missing_scores(trainer: pl.Trainer, game: Game) -> str:
    """The scores that were given up; empty for none."""
    monitor, final = callback_of(trainer, ScoreCallback), callback_of(trainer, FinalScores)
    iterations = monitor.missing if monitor is not None else []
    missing = [f"scores of iteration {iteration:,}" for iteration in iterations]
    if final is not None and game.iteration == game.iterations and not final.are_made:
        missing.append("final scores")
    return ", ".join(missing)


def is_unfinished(trainer: pl.Trainer, game: Game) -> bool:
    """Whether something is left to do, iterations or scores."""
    return game.iteration < game.iterations or bool(missing_scores(trainer, game))


def _scores(trainer: pl.Trainer) -> Iterator[tuple[str, str]]:
    """Scores while training and how they began, full ones at the end, and what to know of them."""
    monitor, final = callback_of(trainer, ScoreCallback), callback_of(trainer, FinalScores)
    if monitor is not None:
        first_scores = monitor.history[0]["scores"] if monitor.history else {}
        for name, score in monitor.last_scores.items():
            first = first_scores.get(name, score)
            yield name, f"{score:.4g}" + (f"  (from {first:.4g})" if first != score else "")
    for iteration, scores in (final.results if final is not None else {}).items():
        protocol = scores.protocol.name or scores.protocol.fingerprint[:8]
        values = ", ".join(f"{name} {value:.4g}" for name, value in scores.means.items())
        yield f"{protocol}, iteration {iteration:,}", values
    for note in monitor.notes if monitor is not None else []:
        yield "note", note


def duration(seconds: float) -> str:
    """Write seconds as 3:25 min or 1:02:03 h."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"
