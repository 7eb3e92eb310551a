"""Columns of the page's tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from saddlepoint.leaderboard import text
from saddlepoint.leaderboard.grouping import Table
from saddlepoint.leaderboard.html_place import Place
from saddlepoint.leaderboard.reading import printable
from saddlepoint.leaderboard.rows import Row
from saddlepoint.records.record import LARGER


@dataclass(frozen=True)
class Column:
    """A column of measured rows.

    Attributes:
        name: its heading.
        kind: classes of the style sheet; "extra" may be hidden.
        show: a row's cell as markup.
        sort: the number that it sorts by; without one, by its text.
        note: small, below the heading.
        short: what the heading says in place of its name.
    """

    name: str
    kind: str
    show: Callable[[Row], str]
    sort: Callable[[Row], float | None] = lambda row: None
    note: str = ""
    short: str = ""

    def heading(self, rows: Sequence[Row]) -> str:
        """Its heading, which says whether all rows have the same in it."""
        small = f"<small>{escape(self.note)}</small>" if self.note else ""
        same = " same" if len(rows) > 1 and len({self.show(row) for row in rows}) == 1 else ""
        shown = escape(self.short or self.name).replace("/", "/<wbr>")
        return (
            f'<th scope="col" class="{self.kind}{same}" data-column="{escape(self.name)}"'
            f' title="{escape(self.name)}"><button type="button">{shown}</button>{small}</th>'
        )

    def cell(self, row: Row) -> str:
        """A row's cell."""
        value = self.sort(row)
        key = "" if value is None else f' data-sort="{value!r}"'
        return f'<td class="{self.kind}"{key}>{self.show(row)}</td>'


def columns_of(table: Table, place: Place) -> list[Column]:
    """Columns of a table; those that no row fills are left out."""
    score = table.score
    rows = table.rows
    larger = "larger is better" if table.direction == LARGER else ""
    columns = [
        Column("#", "n rank", text.place, lambda row: row.places and row.places[0]),
        Column("method", "method", lambda row: _method(row, place)),
        Column(
            score, "n score", lambda row: _score(row, score), lambda row: row.mean(score), larger
        ),
        Column("to baseline", "n against", lambda row: _against(row, table), note="95 % interval"),
    ]
    if table.twins:
        columns.append(
            Column(
                text.twin_heading(table),
                "n extra",
                lambda row: text.twin(row, table),
                lambda row: table.twins.get(row.key),
            )
        )
    if any(row.evaluation_spread(score) is not None for row in rows):
        columns.append(
            Column(
                "± evaluation",
                "n thin extra",
                lambda row: text.evaluation_spread(row, score),
                lambda row: row.evaluation_spread(score),
                "between seeds",
            )
        )
    columns += [_other(name, score) for name in table.other_scores]
    columns += [
        Column("kimg", "n extra", text.kimg, _kimg),
        Column(
            "wall-clock", "n extra", lambda row: text.duration(row.hours), lambda row: row.hours
        ),
        Column("parameters", "n thin extra", lambda r: escape(text.parameters(r)), _parameters),
        Column("hardware", "where extra", lambda row: escape(text.hardware(row))),
        Column("commit", "where mono extra", lambda row: escape(text.commits(row))),
    ]
    return [c for c in columns if c.name != "parameters" or any(map(text.parameters, rows))]


def _other(name: str, score: str) -> Column:
    return Column(
        name,
        "n extra",
        lambda row: text.number(row.mean(name)),
        lambda row: row.mean(name),
        short=text.column(name, score),
    )


def _kimg(row: Row) -> float | None:
    return max(row.values(lambda point: point.kimg), default=None)


def _parameters(row: Row) -> float | None:
    return sum(row.run.parameters.values()) or None


def _method(row: Row, place: Place) -> str:
    terms = "".join(f'<span class="term">{escape(term)}</span>' for term in row.run.terms)
    settings = ""
    if row.settings:
        short, full = text.short_settings(row), text.settings(row)
        settings = f'<small title="{escape(full)}">{escape(short)}</small>'
        if len(row.settings) > text.MOST_SETTINGS + 1:
            listed = "".join(
                f"<li>{escape(printable(key))}={escape(printable(value))}</li>"
                for key, value in row.settings.items()
            )
            settings = (
                f'<details class="settings"><summary>{escape(short)}</summary><ul>{listed}</ul>'
                "</details>"
            )
    return (
        f'<span class="name"><span class="swatch {place.look(row)}"></span>'
        f'<a href="#{place.row_anchor(row)}">{escape(row.run.method)}</a></span>{terms}'
        '<button type="button" class="pin" aria-pressed="false" title="Compare the others with this'
        f' row">pin</button>{settings}'
    )


def _score(row: Row, score: str) -> str:
    spread = escape(text.training_spread(row, score))
    return f"{escape(text.number(row.mean(score)))}<small>{spread}</small>"


def _against(row: Row, table: Table) -> str:
    value, _, interval = text.against(row, table).partition(" ")
    return f"{escape(value)}<small>{escape(interval)}</small>" if interval else escape(value)
