"""The closing screen: what was trained, how good it is, and where everything lies."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from saddlepoint.evaluation.evaluator import Scores
from saddlepoint.gans import Game


def closing_screen(
    console: Console,
    *,
    title: str,
    game: Game,
    folder: Path,
    seconds: float,
    scores: dict[str, float],
    first_scores: dict[str, float],
    final_scores: Mapping[int, Scores] | None = None,
    notes: Sequence[str] = (),
    stopped_by: str | None = None,
) -> None:
    """Print the screen.

    Args:
        console: where to.
        title: names the run.
        game: what was trained.
        folder: of the run.
        seconds: wall-clock of the whole run.
        scores: the last ones.
        first_scores: the ones they began with, for comparison.
        final_scores: {iteration: those under the full protocol}.
        notes: what a user should know about the scores.
        stopped_by: the signal that ended the run early, if one did.
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
    table.add_row("trained", f"{title}, seed {game.seed}")
    table.add_row("parameters", sizes)
    table.add_row(
        "length",
        f"{game.iteration:,} iterations, {game.kimg:,.1f} kimg in {duration(seconds)}",
    )
    for name, score in scores.items():
        first = first_scores.get(name, score)
        change = f"  (from {first:.4g})" if first != score else ""
        table.add_row(name, f"{score:.4g}{change}")
    for iteration, final in (final_scores or {}).items():
        protocol = final.protocol.name or final.protocol.fingerprint[:8]
        values = ", ".join(f"{name} {value:.4g}" for name, value in final.means.items())
        table.add_row(f"{protocol}, iteration {iteration:,}", values)
    for note in notes:
        table.add_row("note", note)
    for what, path in (
        ("samples", folder / "samples"),
        ("scores", folder / "records.jsonl"),
        ("losses", folder / "metrics.csv"),
        ("checkpoint", folder / "checkpoints" / "last.ckpt"),
    ):
        if path.exists():
            table.add_row(what, str(path))
    heading = f"stopped by {stopped_by}" if stopped_by else "finished"
    console.print(Panel(table, title=heading, box=box.ROUNDED, expand=False))
    # Outside the panel, which would break a command into lines.
    following = f"train.py ckpt={folder}" if stopped_by else f"sample.py run={folder}"
    what = "go on with" if stopped_by else "see more with"
    console.print(f"{what}: python {following}", soft_wrap=True)


def duration(seconds: float) -> str:
    """Write seconds as 3:25 min or 1:02:03 h."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"
