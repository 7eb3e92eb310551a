"""Runs of the page: samples, commands, and all their settings."""

import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any

from saddlepoint.leaderboard import text
from saddlepoint.leaderboard.grouping import Table
from saddlepoint.leaderboard.html_place import Place
from saddlepoint.leaderboard.pictures import embedded, newest_picture
from saddlepoint.leaderboard.reading import Run, printable
from saddlepoint.leaderboard.rows import Row, is_repetition
from saddlepoint.records.changes import MIDWAY

NOT_ALONE = "settings were changed midway: no command alone reproduces it, these made it"


def runs_card(place: Place, budget: list[int]) -> str:
    """Sample grids side by side, each with the commands of its row's runs.

    Args:
        place: the data set.
        budget: bytes that pictures may still take; counted down.
    """
    cards = []
    for found in place.rows.values():
        row = found[0][1]
        runs = {id(run): run for _, same in found for run in same.runs}
        places = ", ".join(
            f"{table.score} {text.number(same.mean(table.score))}{_where(same, table)}"
            for table, same in found
        )
        commands = [_command(run) for run in runs.values()]
        more = (
            f"<details><summary>{text.count(len(commands) - 1, 'more run')}</summary>"
            f"{''.join(commands[1:])}</details>"
            if len(commands) > 1
            else ""
        )
        cards.append(
            f'<div class="run" id="{place.row_anchor(row)}" data-row="{place.row_anchor(row)}">'
            f'{_picture(row, budget)}<h4><span class="swatch {place.look(row)}"></span>'
            f"{escape(text.short_name(row))}</h4>"
            f"<p>{escape(places)}</p>{commands[0]}{more}</div>"
        )
    return (
        '<article class="card"><h3>Samples and commands</h3><div class="runs">'
        f"{''.join(cards)}</div></article>"
    )


def _where(row: Row, table: Table) -> str:
    """A row's place, and the protocol that it holds under."""
    place = f"#{text.place(row)}" if row.places else ""
    under = f"under {printable(table.protocol_name)}" if table.protocol_name else ""
    weights = f"{text.weights(table)} weights" if table.other_weights else ""
    about = ", ".join(filter(None, (" ".join(filter(None, (place, under))), weights)))
    return f" ({about})" if about else ""


def _picture(row: Row, budget: list[int]) -> str:
    """Samples of the row's first run that has any, while the page stays of sane size."""
    for run in row.runs:
        path = newest_picture(run.folder)
        picture = embedded(path) if path is not None else None
        if picture is None:
            continue
        if len(picture.uri) > budget[0]:
            return '<div class="none">samples left out: the page is full</div>'
        budget[0] -= len(picture.uri)
        alt = escape(printable(f"samples of {text.short_name(row)}, seed {run.seed}, {path.name}"))
        return (
            f'<button type="button" class="picture" title="{alt}"><img src="{picture.uri}"'
            f' width="{picture.width}" height="{picture.height}" alt="{alt}"></button>'
        )
    return '<div class="none">no samples</div>'


def _command(run: Run) -> str:
    newest = max((points[-1] for points in run.points.values()), key=lambda p: p.iteration)
    about = [f"seed {run.seed}"] if run.seed is not None else []
    if newest.commit:
        about.append(f"at {newest.commit.split('-')[0][:7]}")
    if newest.commit and newest.commit.endswith("-dirty"):
        about.append("with uncommitted changes")
    label = f"<span>{escape(' · '.join(about))}</span>"
    lines = _read_commands(run.folder)
    if MIDWAY in run.settings and lines:
        label = f"<span>{escape(' · '.join([*about, NOT_ALONE]))}</span>"
        return (
            f'<div class="command"><div class="label">{label}</div>'
            f"<code>{escape(chr(10).join(lines))}</code></div>"
        )
    if not lines:
        return f'<div class="command"><div class="label">{label}no command recorded</div></div>'
    return (
        f'<div class="command"><div class="label">{label}<button type="button" class="copy">copy'
        f"</button></div><code>{escape(lines[0])}</code></div>"
    )


def _read_commands(folder: Path) -> list[str]:
    """What was typed: the command that began the run, then those that resumed it."""
    try:
        with (folder / "command.txt").open(encoding="utf-8", errors="replace") as file:
            lines = file.read(20_000).splitlines()
    except OSError:
        return []
    return [line for line in (printable(line).strip() for line in lines) if line]


def settings(places: list[Place]) -> str:
    """All settings of all runs as JSON that no text in them can end."""
    listed: dict[int, dict[str, Any]] = {}
    for place in places:
        for key, found in place.rows.items():
            for _, row in found:
                for run in row.runs:
                    seed = f", seed {run.seed}" if run.seed is not None else ""
                    listed.setdefault(
                        id(run),
                        {
                            "group": place.name,
                            "row": hashlib.sha256(key.encode()).hexdigest()[:12],
                            "name": f"{text.short_name(row)}{seed} ({printable(run.folder.name)})",
                            "settings": _entries(run),
                        },
                    )
    content = json.dumps(list(listed.values()), ensure_ascii=True)
    return content.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _entries(run: Run) -> list[tuple[str, str, bool]]:
    """Name, value, and whether it leaves what is trained as it is."""
    newest = max((points[-1] for points in run.points.values()), key=lambda p: p.iteration)
    entries = [
        (printable(key), printable(json.dumps(value, default=str)), is_repetition(key))
        for key, value in run.settings.items()
    ]
    entries.append(("(commit)", newest.commit or text.UNKNOWN, False))
    entries.append(("(hardware)", newest.hardware or text.UNKNOWN, True))
    entries += [(f"(version of {name})", value, False) for name, value in run.versions.items()]
    return entries
