"""How far work has come: lines in files that nobody watches, one line on a terminal."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from saddlepoint.evaluation import progress_lines
from saddlepoint.evaluation.progress_lines import ProgressLines, lines_where_nobody_watches
from saddlepoint.runs.callbacks.status_line import StatusLine


def test_at_most_a_line_every_half_minute():
    now, file = [0.0], io.StringIO()
    tell = ProgressLines(file, clock=lambda: now[0])
    for done in range(1, 101):
        now[0] += 1
        tell("generated images", done, 100)
    assert file.getvalue().splitlines() == [
        "generated images: 31 of 100 (31%)",
        "generated images: 61 of 100 (61%)",
        "generated images: 91 of 100 (91%)",
    ]
    now[0] += 1000
    tell("generated images", 1, 100)  # the next pass begins
    tell("real images", 5, 5)
    assert len(file.getvalue().splitlines()) == 3


LOSSES = {"discriminator/adversarial": 1.25, "discriminator/infomax": 0.125, "generator/a": 0.5}


def playing(iteration=1050, iterations=100_000):
    """A trainer and its game, as far as the status line looks at them."""
    trainer = SimpleNamespace(is_global_zero=True, callbacks=[])
    game = SimpleNamespace(iteration=iteration, iterations=iterations, trainer=trainer)
    game.last_losses, game.kimg = LOSSES, 64 * iteration / 1000
    return trainer, game


@pytest.mark.parametrize("width", [80, 120])
def test_the_status_line_fits_the_terminal_and_shows_how_scoring_goes(width):
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, color_system=None)
    trainer, game = playing()
    status = StatusLine(console)
    status.on_train_start(trainer, game)
    status._bar.refresh()
    tell = lines_where_nobody_watches()
    tell("generated images", 300, 1000)
    status._bar.refresh()
    status.on_train_batch_end(trainer, game)
    status._bar.refresh()
    status.teardown(trainer, game, "fit")
    assert progress_lines.WATCHING == []
    shown = [line.strip() for line in file.getvalue().replace("\r", "\n").splitlines()]
    lines = [line for line in shown if "1,050/100,000" in line]
    assert any("scoring: generated images 300/1,000" in line for line in lines)
    losses = "D 1.375 G 0.500" if width == 80 else "discriminator 1.375 generator 0.500"
    assert losses in lines[0] and losses in lines[-1]
    assert "scoring" not in lines[-1]


def test_a_line_of_a_log_has_80_characters_at_most(monkeypatch):
    file = io.StringIO()
    trainer, game = playing(99_999)
    status = StatusLine(Console(file=file, width=120))
    status.on_train_start(trainer, game)
    game.iteration = 100_000
    status.on_train_batch_end(trainer, game)
    (line,) = file.getvalue().splitlines()
    assert line.startswith("100,000/100,000 ") and line.endswith("0:00:00 left")
    assert len(line) <= 80
