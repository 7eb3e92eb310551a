"""Tables of the page: measured, reference and published rows, and what has to be known of them."""

import json
from html import escape

from saddlepoint.leaderboard import flat, text
from saddlepoint.leaderboard.budget import Block
from saddlepoint.leaderboard.charts import charts, curve
from saddlepoint.leaderboard.grouping import Table, flat_protocol
from saddlepoint.leaderboard.html_columns import Column, columns_of
from saddlepoint.leaderboard.html_place import Place
from saddlepoint.leaderboard.published import Figure
from saddlepoint.leaderboard.reading import printable
from saddlepoint.leaderboard.rows import Row
from saddlepoint.leaderboard.significance import half_widths

#: Most rows of a block that can be compared with any pinned one; more would make the page large.
MOST_PAIRED = 300
CROWDED = 12  # curves in a chart: from here on a band is only seen under the pointer


def table_card(table: Table, place: Place) -> str:
    """One protocol: what its scores mean, the table, and scores over training."""
    chips = [f'<span class="chip">{escape(printable(table.protocol_name))}</span>'] * bool(
        table.protocol_name
    )
    if table.best:
        chips.append('<span class="chip best">best over training</span>')
    apart = ""
    if table.differs:
        listed = escape(text.differences(table.differs))
        apart = (
            f'<p class="apart">Differs from the other {escape(table.score)} tables of this data in:'
            f" {listed}</p>"
        )
    if mixed := text.mixed_versions(table):
        apart += f'<p class="apart">{escape(mixed[0].upper() + mixed[1:])}</p>'
    return "\n".join(
        [
            '<article class="card board">',
            f"<h3>{escape(table.score)} {''.join(chips)}</h3>",
            f'<p class="meaning">{escape(text.protocol(table))}</p>{apart}',
            _protocol(table),
            _table(table, place),
            _remarks(table),
            _charts(table, place),
            "</article>",
        ]
    )


def _protocol(table: Table) -> str:
    entries = "".join(
        f"<dt>{escape(printable(key))}</dt><dd>{escape(printable(value))}</dd>"
        for key, value in flat_protocol(table.protocol).items()
    )
    return (
        f'<details class="protocol"><summary>protocol <span class="mono">'
        f"{escape(printable(table.fingerprint)[:8])}</span></summary><dl>"
        f"<dt>fingerprint</dt><dd>{escape(printable(table.fingerprint))}</dd>{entries}</dl></details>"
    )


def _table(table: Table, place: Place) -> str:
    columns = columns_of(table, place)
    headings = "".join(column.heading(table.rows) for column in columns)
    bodies = []
    for block in table.blocks:
        label = ""
        if flat.is_labelled(table, block):
            kind = "label" if block.is_over else "label unfinished"
            label = (
                f'<tr class="{kind}"><td colspan="{len(columns)}">{escape(text.budget(block))}</td>'
                "</tr>"
            )
        lines = "".join(_row(row, table, place, columns) for row in block.rows)
        kind = "measured" if block.is_over else "measured unfinished"
        bodies.append(f'<tbody class="{kind}"{_paired(block, table)}>{label}{lines}</tbody>')
    bodies.append(_references(table, columns) + _published(table, columns))
    return (
        '<div class="scroll"><table class="sortable"><thead><tr>'
        f"{headings}</tr></thead>{''.join(bodies)}</table></div>"
    )


def _row(row: Row, table: Table, place: Place, columns: list[Column]) -> str:
    cells = [column.cell(row) for column in columns]
    first = ' class="first"' if row.places == (1, 1) else ""
    about = f' data-row="{place.row_anchor(row)}" data-words="{escape(place.words(row))}"'
    pinned = " data-pinned" if row is table.baseline else ""
    return f"<tr{first}{about}{pinned}>{''.join(cells)}</tr>"


def _paired(block: Block, table: Table) -> str:
    """What the page needs to compare any two rows of a block: half widths of their differences."""
    samples = [row.sample(table.score) for row in block.rows]
    if len(samples) < 2 or len(samples) > MOST_PAIRED:
        return ""
    widths = [[None] * len(samples) for _ in samples]
    if sum(sample.count > 1 for sample in samples) > 1:
        widths = [
            [None if value != value else float(f"{value:.7g}") for value in line[: i + 1]]
            for i, line in enumerate(half_widths(samples).tolist())
        ]
    means = [sample.mean for sample in samples]
    return f' data-means="{json.dumps(means)}" data-widths="{json.dumps(widths)}"'


def _references(table: Table, columns: list[Column]) -> str:
    names = [column.name for column in columns]
    rows = []
    for name in table.references:
        cells = flat.reference_cells(name, table, names)
        shown = [
            f'<td class="{c.kind}">{escape(cell)}</td>'
            for cell, c in zip(cells, columns, strict=True)
        ]
        rows.append(f"<tr>{''.join(shown)}</tr>")
    return f'<tbody class="references">{"".join(rows)}</tbody>' if rows else ""


def _published(table: Table, columns: list[Column]) -> str:
    if not table.published:
        return ""
    rows = [
        f'<tr class="label"><td colspan="{len(columns)}">Cited, under a protocol of this name: no'
        " place</td></tr>"
    ]
    for figure in table.published:
        cells = []
        for name, kind in ((column.name, column.kind) for column in columns):
            title = ""
            if name == "#":
                content = "cited"
            elif name == "method":
                source = " · ".join(filter(None, (figure.short, figure.note)))
                content = f"{escape(figure.method)}<small>{escape(source)}</small>"
                title = figure.citation
            else:
                content = _value_and_spread(text.cited(figure.scores.get(name)))
                if name == table.score:
                    title = figure.plus_minus
                    content = content or ("unverified" if figure.unverified else "")
            about = f' title="{escape(title)}"' if title else ""
            cells.append(f'<td class="{kind}"{about}>{content}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<tbody class="published">{"".join(rows)}</tbody>'


def _value_and_spread(cited: str) -> str:
    value, sign, spread = cited.partition(" ± ")
    return escape(value) + (f"<small>± {escape(spread)}</small>" if sign else "")


def _remarks(table: Table) -> str:
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in flat.remarks(table))
    citations = {
        figure.citation: f"<li>{escape(figure.short)}: {escape(figure.citation)}"
        + (f" Their ±: {escape(figure.plus_minus)}." if figure.plus_minus else "")
        + "</li>"
        for figure in table.published
    }
    return (f'<ul class="remarks">{remarks}</ul>' if remarks else "") + (
        f'<ul class="citations">{"".join(citations.values())}</ul>' if citations else ""
    )


def _charts(table: Table, place: Place) -> str:
    curves = [
        curve(row, table, text.short_name(row), place.look(row), place.row_anchor(row))
        for row in table.rows
    ]
    drawn = charts(curves, table.score)
    if not drawn:
        return ""
    legend = "".join(
        f'<button type="button" aria-pressed="true" data-row="{c.row}" title="{escape(c.name)}">'
        f'<span class="swatch {c.look}"></span>{escape(c.name)}</button>'
        for c in curves
    )
    many = " many" if len(curves) > CROWDED else ""
    return f'<div class="legend">{legend}</div><div class="charts{many}">{"".join(drawn)}</div>'


def elsewhere(figures: list[Figure]) -> str:
    """Published figures of the data set under protocols that no table here has."""
    if not figures:
        return ""
    names = list(dict.fromkeys(name for figure in figures for name in figure.scores))
    headings = "".join(
        f'<th scope="col" class="{"n" if name in names else ""}">{escape(name)}</th>'
        for name in ("method", "protocol", *names, "source")
    )
    rows = []
    for figure in figures:
        scores = [
            f'<td class="n">{escape(text.cited(figure.scores.get(name)))}</td>' for name in names
        ]
        note = "figures exist, unverified" if figure.unverified else figure.note
        source = " · ".join(filter(None, (figure.short, note)))
        rows.append(
            f'<tr><td class="method">{escape(figure.method)}</td><td>{escape(figure.protocol)}</td>'
            f'{"".join(scores)}<td title="{escape(figure.citation)}">{escape(source)}</td></tr>'
        )
    return (
        '<details class="card"><summary>Published under other protocols: not comparable with any'
        f' table above ({len(figures)})</summary><div class="scroll"><table><thead><tr>{headings}'
        f'</tr></thead><tbody class="published">{"".join(rows)}</tbody></table></div></details>'
    )
