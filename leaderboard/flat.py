"""The leaderboard as one flat list of rows, for CSV, Markdown and loggers."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from saddlepoint.leaderboard import text
from saddlepoint.leaderboard.grouping import Row, Table
from saddlepoint.leaderboard.published import Figure

COLUMNS = (
    *("kind", "dataset", "score", "protocol", "fingerprint", "selection", "rank", "method"),
    *("terms", "settings", "iteration", "kimg", "mean", "training_seeds", "training_spread"),
    *("evaluation_seeds", "evaluation_spread", "published_spread", "hours", "hardware", "commit"),
    *("folders", "citation", "note"),
)


def columns(tables: list[Table]) -> list[str]:
    """Names of all columns: the fixed ones, and the scores that do not rank."""
    return [*COLUMNS, *dict.fromkeys(name for table in tables for name in table.other_scores)]


def rows(tables: list[Table]) -> list[dict[str, Any]]:
    """One dict a row: measured ones with a rank, published ones (kind "published") without."""
    found = []
    for table in tables:
        about = {
            "dataset": table.dataset,
            "score": table.score,
            "protocol": table.protocol_name or text.protocol(table),
            "fingerprint": table.fingerprint,
        }
        found += [about | _measured(row, table) for row in table.rows]
        found += [about | _published(figure, table) for figure in table.published]
    return found


def _measured(row: Row, table: Table) -> dict[str, Any]:
    score = table.score
    kimg = row.values(lambda point: point.kimg)
    return {
        "kind": "measured",
        "selection": "best over training" if table.best else "last",
        "rank": row.rank,
        "method": row.run.method,
        "terms": text.terms(row),
        "settings": text.settings(row),
        "iteration": max(row.values(lambda point: point.iteration)),
        "kimg": max(kimg) if kimg else None,
        "mean": row.mean(score),
        "training_seeds": len(row.scores(score)),
        "training_spread": row.training_spread(score),
        "evaluation_seeds": row.evaluation_seeds(score),
        "evaluation_spread": row.evaluation_spread(score),
        "hours": row.hours,
        "hardware": text.hardware(row),
        "commit": ", ".join(row.values(lambda point: point.commit)),
        "folders": ", ".join(str(entry.run.folder) for entry in row.entries),
        "note": "; ".join(text.remarks(row)),
        **{name: row.mean(name) for name in table.other_scores},
    }


def _published(figure: Figure, table: Table) -> dict[str, Any]:
    score = figure.scores.get(table.score)
    others = {n: figure.scores[n].mean for n in table.other_scores if n in figure.scores}
    return {
        "kind": "published",
        "fingerprint": "",  # no record of ours: the protocol is the same by name alone
        "method": figure.method,
        "mean": score.mean if score else None,
        "published_spread": score.spread if score else None,
        "citation": figure.citation,
        "note": "unverified" if figure.unverified else figure.note,
        **others,
    }


def to_csv(tables: list[Table]) -> str:
    """All tables in one CSV, numbers in full."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns(tables), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(tables))
    return file.getvalue()


def to_markdown(tables: list[Table]) -> str:
    """A heading and a table for each protocol."""
    return "\n".join(_markdown_table(table) for table in tables)


def _markdown_table(table: Table) -> str:
    score = table.score
    others = table.other_scores
    names = ["rank", "method", "terms", "settings", "kimg", score]
    names += ["± training seeds", "± evaluation seeds", *others, "wall-clock", "hardware", "commit"]
    lines = [f"### {_plain(text.heading(table))}", "", _plain(text.protocol(table)), ""]
    lines += [_line(names), "|" + " --- |" * len(names)]
    for row in table.rows:
        cells = [str(row.rank), row.run.method, text.terms(row), text.settings(row), text.kimg(row)]
        cells += [text.number(row.mean(score)), text.training_spread(row, score)]
        cells += [text.evaluation_spread(row, score)]
        cells += [text.number(row.mean(name)) for name in others]
        cells += [text.duration(row.hours), text.hardware(row), text.commits(row)]
        lines.append(_line(cells))
    for figure in table.published:
        value = {n: text.cited(s) for n, s in figure.scores.items()}
        cells = ["cited", f"{figure.method} ({figure.short})", "", "", ""]
        cells += [value.get(score, "unverified" if figure.unverified else ""), "", ""]
        cells += [*(value.get(name, "") for name in others), "", "", ""]
        lines.append(_line(cells))
    notes = [
        f"#{row.rank} {text.row_name(row)}: {n}" for row in table.rows for n in text.remarks(row)
    ]
    notes += dict.fromkeys(citation(figure) for figure in table.published)
    return "\n".join([*lines, "", *(f"* {_plain(note)}" for note in notes), ""])


def citation(figure: Figure) -> str:
    """Full citation of a published figure, and what its spread means."""
    about = f" (±: {figure.plus_minus})" if figure.plus_minus else ""
    return f"published: {figure.citation}{about}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(cell: str) -> str:
    """Keep Markdown from reading anything into a name."""
    for character in "\\`*_{}[]<>|#":
        cell = cell.replace(character, f"\\{character}")
    return cell
