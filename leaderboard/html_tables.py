"""Tables of the page: measured and published rows, remarks, charts."""

from html import escape
from typing import Any

from saddlepoint.leaderboard import text
from saddlepoint.leaderboard.charts import charts, curve
from saddlepoint.leaderboard.grouping import Row, Table, flat_protocol
from saddlepoint.leaderboard.html_place import Place
from saddlepoint.leaderboard.published import Figure
from saddlepoint.leaderboard.reading import printable
from saddlepoint.records.record import LARGER


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
            '<article class="card">',
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
    score, others = table.score, table.other_scores
    training = any(row.training_spread(score) is not None for row in table.rows)
    evaluation = any(row.evaluation_spread(score) is not None for row in table.rows)
    terms = any(row.run.terms for row in table.rows)
    headings = [_heading("#", "n"), _heading("method")]
    headings += [_heading("terms", "terms")] * terms
    headings += [_heading("kimg", "n")]
    headings.append(_heading(score, "n", "larger is better" if table.direction == LARGER else ""))
    if training:
        headings.append(_heading("± training", "n", "between seeds"))
    if evaluation:
        headings.append(_heading("± evaluation", "n", "between seeds"))
    headings += [_heading(text.column(name, score), "n") for name in others]
    headings += [_heading("wall-clock", "n"), _heading("hardware"), _heading("commit")]

    measured = []
    for row in table.rows:
        cells = [
            _cell(str(row.rank), "rank", sort=row.rank),
            _method_cell(row, place),
            *([_terms_cell(row)] * terms),
            _cell(escape(text.kimg(row)), "n", sort=max(row.values(lambda p: p.kimg), default="")),
            _cell(escape(text.number(row.mean(score))), "n score", sort=row.mean(score)),
        ]
        if training:
            spread = escape(text.training_spread(row, score))
            cells.append(_cell(spread, "n thin", sort=row.training_spread(score)))
        if evaluation:
            spread = escape(text.evaluation_spread(row, score))
            cells.append(_cell(spread, "n thin", sort=row.evaluation_spread(score)))
        cells += [_cell(text.number(row.mean(n)), "n", sort=row.mean(n)) for n in others]
        cells += [
            _cell(escape(text.duration(row.hours)), "n", sort=row.hours),
            _cell(escape(text.hardware(row)), "where"),
            _cell(escape(text.commits(row)), "where mono"),
        ]
        first = ' class="first"' if row.rank == 1 else ""
        measured.append(f"<tr{first}>{''.join(cells)}</tr>")
    spreads = training + evaluation
    before = 1 + terms
    return (
        '<div class="scroll"><table class="sortable"><thead><tr>'
        f'{"".join(headings)}</tr></thead><tbody class="measured">{"".join(measured)}</tbody>'
        f"{_published_rows(table, others, before, spreads)}</table></div>"
    )


def _published_rows(table: Table, others: list[str], before: int, spreads: int) -> str:
    """Cited figures: ``before`` empty cells to the score, ``spreads`` columns for its ±."""
    if not table.published:
        return ""
    columns = 6 + before + spreads + len(others)
    rows = [
        f'<tr class="label"><td colspan="{columns}">Published under a protocol of this name: cited,'
        " not ranked</td></tr>"
    ]
    for figure in table.published:
        scores = {n: text.cited(s) for n, s in figure.scores.items()}
        value = scores.get(table.score, "unverified" if figure.unverified else "")
        value, sign, spread = value.partition(" ± ")
        if spreads:
            spread = f'<td class="n thin" colspan="{spreads}">{escape(sign.lstrip() + spread)}</td>'
        else:
            value, spread = value + sign + spread, ""
        source = " · ".join(filter(None, (figure.short, figure.note)))
        # The source stands where terms are, if there is such a column and room for it.
        terms = before > 1
        small = f'<small class="{"narrow" if terms else ""}">{escape(source)}</small>'
        cells = [
            _cell("cited", "n thin"),
            f'<td class="method" title="{escape(figure.citation)}">{escape(figure.method)}{small}'
            "</td>",
            *([_cell(f"<small>{escape(source)}</small>", "terms")] * terms),
            "<td></td>",
            f'<td class="n score" title="{escape(figure.plus_minus)}">{escape(value)}</td>',
            spread,
            *(_cell(_value_and_spread(scores.get(name, "")), "n") for name in others),
            "<td></td><td></td><td></td>",
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<tbody class="published">{"".join(rows)}</tbody>'


def _value_and_spread(cited: str) -> str:
    value, sign, spread = cited.partition(" ± ")
    return escape(value) + (f" <small>± {escape(spread)}</small>" if sign else "")


def _terms_cell(row: Row) -> str:
    terms = "".join(f'<span class="term">{escape(term)}</span>' for term in row.run.terms)
    return _cell(terms, "terms")


def _method_cell(row: Row, place: Place) -> str:
    settings = f"<small>{escape(text.settings(row))}</small>" if row.settings else ""
    if row.run.terms:  # where there is no room for a column of terms
        settings = f'<small class="narrow">{escape(text.terms(row))}</small>{settings}'
    return (
        f'<td class="method"><span class="swatch c{place.colour(row)}"></span>'
        f'<a href="#{place.row_anchor(row)}">{escape(row.run.method)}</a>{settings}</td>'
    )


def _heading(name: str, kind: str = "", note: str = "") -> str:
    small = f"<small>{escape(note)}</small>" if note else ""
    return (
        f'<th scope="col" class="{kind}"><button type="button">{escape(name)}</button>{small}</th>'
    )


def _cell(content: str, kind: str = "", sort: Any = None) -> str:
    """A cell of escaped content; ``sort`` is the number it sorts by."""
    key = f' data-sort="{sort!r}"' if isinstance(sort, int | float) else ""
    return f'<td class="{kind}"{key}>{content}</td>'


def _remarks(table: Table) -> str:
    remarks = [
        f"<li>#{row.rank} {escape(text.row_name(row))}: {escape(remark)}</li>"
        for row in table.rows
        for remark in text.remarks(row)
    ]
    citations = {
        figure.citation: f"<li>{escape(figure.short)}: {escape(figure.citation)}"
        + (f" Their ±: {escape(figure.plus_minus)}." if figure.plus_minus else "")
        + "</li>"
        for figure in table.published
    }
    return (f'<ul class="remarks">{"".join(remarks)}</ul>' if remarks else "") + (
        f'<ul class="citations">{"".join(citations.values())}</ul>' if citations else ""
    )


def _charts(table: Table, place: Place) -> str:
    curves = [curve(row, table, text.row_name(row), place.colour(row)) for row in table.rows]
    drawn = charts(curves, table.score)
    if not drawn:
        return ""
    legend = "".join(
        f'<button type="button" aria-pressed="true" data-name="{escape(c.name)}">'
        f'<span class="swatch c{c.colour}"></span>{escape(c.name)}</button>'
        for c in curves
    )
    return f'<div class="legend">{legend}</div><div class="charts">{"".join(drawn)}</div>'


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
        scores = [_cell(escape(text.cited(figure.scores.get(name))), "n") for name in names]
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
