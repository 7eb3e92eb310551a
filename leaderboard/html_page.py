"""The leaderboard as one self-contained page: no network, no server, nothing beside it.

Everything that comes from a record is escaped; the page's own policy forbids all scripts but its
own, and all requests.
"""

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template

from saddlepoint.leaderboard import text
from saddlepoint.leaderboard.grouping import Table
from saddlepoint.leaderboard.html_place import Place
from saddlepoint.leaderboard.html_runs import runs_card, settings
from saddlepoint.leaderboard.html_tables import elsewhere, table_card
from saddlepoint.leaderboard.published import Figure
from saddlepoint.leaderboard.reading import Failure, printable

PARTS = Path(__file__).resolve().parent / "page"
MOST_PICTURE_BYTES = 24_000_000  # of all sample grids together


def to_html(
    tables: list[Table],
    figures: Iterable[Figure] = (),
    problems: Iterable[str] = (),
    title: str = "Leaderboard",
    failures: Iterable[Failure] = (),
) -> str:
    """Write the page.

    Args:
        tables: from `leaderboard.grouping.tables`.
        figures: all published ones.
        problems: sentences on what could not be read.
        title: of the page.
        failures: runs that have failed.
    """
    figures = list(figures)
    datasets: dict[str, list[Table]] = {}
    for table in tables:
        datasets.setdefault(table.dataset, []).append(table)
    places = [Place(name, number, found) for number, (name, found) in enumerate(datasets.items())]
    budget = [MOST_PICTURE_BYTES]
    runs = {id(run) for table in tables for row in table.rows for run in row.runs}
    script = (PARTS / "script.js").read_text(encoding="utf-8")
    links = [f'<a href="#{place.anchor}">{escape(place.name)}</a>' for place in places]
    return Template((PARTS / "template.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        summary=escape(
            f"{text.count(len(runs), 'run')} in {text.count(len(tables), 'table')};"
            " a table holds one data set and one protocol."
        ),
        navigation="".join([*links, '<a href="#compare">compare settings</a>']),
        problems=_listed("Not everything could be read", list(problems))
        + _listed("Failed", [f"{f.folder}: {f.sentence}" for f in failures]),
        datasets="\n".join(_dataset(place, figures, budget) for place in places),
        runs=settings(places),
        style=(PARTS / "style.css").read_text(encoding="utf-8"),
        places=escape(text.PLACES),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _dataset(place: Place, figures: list[Figure], budget: list[int]) -> str:
    shape = " × ".join(map(str, place.tables[0].shape))
    shown = [figure for table in place.tables for figure in table.published]
    fitting = [f for f in figures if f.fits(place.name, place.tables[0].shape) and f not in shown]
    return "\n".join(
        [
            f'<section class="dataset" id="{place.anchor}">',
            f"<h2>{escape(place.name)} <small>{escape(shape)}</small></h2>",
            *(table_card(table, place) for table in place.tables),
            elsewhere(fitting),
            runs_card(place, budget),
            "</section>",
        ]
    )


def _listed(heading: str, sentences: list[str]) -> str:
    if not sentences:
        return ""
    listed = "".join(f"<li>{escape(printable(sentence))}</li>" for sentence in sentences)
    return f'<div class="card problems">{heading}:<ul>{listed}</ul></div>'
