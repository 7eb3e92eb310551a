"""The leaderboard as one flat list of rows, for CSV, Markdown and loggers."""

import csv
import io
from collections.abc import Callable, Iterable
from typing import Any

from saddlepoint.leaderboard import text
from saddlepoint.leaderboard.budget import Block
from saddlepoint.leaderboard.grouping import Table
from saddlepoint.leaderboard.published import Figure
from saddlepoint.leaderboard.rows import Row

#: Cells of a row by the heading of their column.
Columns = list[tuple[str, Callable[[Row], str]]]

COLUMNS = (
    *("kind", "dataset", "score", "protocol", "fingerprint", "selection", "budget"),
    *("first_place", "last_place", "method"),
    *("terms", "settings", "iteration", "kimg", "mean", "training_seeds", "training_spread"),
    *("difference", "difference_low", "difference_high", "other_weights", "parameters"),
    *("evaluation_seeds", "evaluation_spread", "published_spread", "hours", "hardware", "commit"),
    *("folders", "citation", "note"),
)


def columns(tables: list[Table]) -> list[str]:
    """Names of all columns: the fixed ones, and the scores that do not rank."""
    return [*COLUMNS, *dict.fromkeys(name for table in tables for name in table.other_scores)]


def rows(tables: list[Table]) -> list[dict[str, Any]]:
    """One dict a row: measured ones with their places, references and published ones without."""
    found = []
    for table in tables:
        about = {
            "dataset": table.dataset,
            "score": table.score,
            "protocol": table.protocol_name or text.protocol(table),
            "fingerprint": table.fingerprint,
        }
        for block in table.blocks:
            at = {"budget": text.budget(block)}
            found += [about | at | _measured(row, table) for row in block.rows]
        found += [about | _reference(name, table) for name in table.references]
        found += [about | _published(figure, table) for figure in table.published]
    return found


def _measured(row: Row, table: Table) -> dict[str, Any]:
    score = table.score
    kimg = row.values(lambda point: point.kimg)
    low, high = (row.against and row.against.interval) or (None, None)
    return {
        "kind": "measured",
        "selection": "best over training" if table.best else "last",
        "first_place": row.places[0] if row.places else None,
        "last_place": row.places[1] if row.places else None,
        "method": row.run.method,
        "terms": text.terms(row),
        "settings": text.settings(row),
        "iteration": max(row.values(lambda point: point.iteration)),
        "kimg": max(kimg) if kimg else None,
        "mean": row.mean(score),
        "training_seeds": len(row.scores(score)),
        "training_spread": row.training_spread(score),
        "difference": None if row.against is None else row.against.value,
        "difference_low": low,
        "difference_high": high,
        "other_weights": table.twins.get(row.key),
        "parameters": sum(row.run.parameters.values()) or None,
        "evaluation_seeds": row.evaluation_seeds(score),
        "evaluation_spread": row.evaluation_spread(score),
        "hours": row.hours,
        "hardware": text.hardware(row),
        "commit": ", ".join(row.values(lambda point: point.commit)),
        "folders": ", ".join(str(entry.run.folder) for entry in row.entries),
        "note": "; ".join(text.remarks(row)),
        **{name: row.mean(name) for name in table.other_scores},
    }


def _reference(name: str, table: Table) -> dict[str, Any]:
    scores = table.references[name]
    return {
        "kind": "reference",
        "method": text.reference(name),
        "mean": scores.get(table.score),
        **{other: scores.get(other) for other in table.other_scores},
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
    columns = columns_of(table)
    names = [name for name, _ in columns]
    blocks = [[[cell(row) for _, cell in columns] for row in b.rows] for b in table.blocks]
    references = [reference_cells(name, table, names) for name in table.references]
    cited = [cited_cells(figure, table, names) for figure in table.published]
    lines = [*(line for block in blocks for line in block), *references, *cited]
    kept = [i for i, name in enumerate(names) if name == "#" or any(line[i] for line in lines)]
    shown = []
    for block, of_block in zip(table.blocks, blocks, strict=True):
        if is_labelled(table, block):
            shown.append(label_cells(text.budget(block), names))
        shown += of_block
    written = [[line[i] for i in kept] for line in [*shown, *references, *cited]]
    notes = [*remarks(table), *dict.fromkeys(citation(figure) for figure in table.published)]
    if any(row.places for row in table.rows):
        notes.append(text.PLACES)
    return "\n".join(
        [
            *(f"### {_plain(text.heading(table))}", "", _plain(text.protocol(table)), ""),
            *(_line([names[i] for i in kept]), "|" + " --- |" * len(kept)),
            *map(_line, written),
            *("", *(f"* {_plain(note)}" for note in notes), ""),
        ]
    )


def columns_of(table: Table) -> Columns:
    """All columns of a table for people."""
    score = table.score
    others: Columns = [
        (name, lambda row, name=name: text.number(row.mean(name))) for name in table.other_scores
    ]
    return [
        ("#", text.place),
        ("method", lambda row: row.run.method),
        ("terms", text.terms),
        ("settings", text.short_settings),
        (score, lambda row: text.number(row.mean(score))),
        ("± training seeds", lambda row: text.training_spread(row, score)),
        ("± evaluation seeds", lambda row: text.evaluation_spread(row, score)),
        ("to baseline (95 %)", lambda row: text.against(row, table)),
        (text.twin_heading(table), lambda row: text.twin(row, table)),
        *others,
        ("kimg", text.kimg),
        ("wall-clock", lambda row: text.duration(row.hours)),
        ("parameters", text.parameters),
        ("hardware", text.hardware),
        ("commit", text.commits),
    ]


def is_labelled(table: Table, block: Block) -> bool:
    """Whether the reader has to be told what the rows of a block have in common."""
    return len(table.blocks) > 1 or not block.is_over


def label_cells(label: str, names: list[str]) -> list[str]:
    """A line that says what the rows below it have in common."""
    return [f"{label}:" if name == "method" else "" for name in names]


def reference_cells(reference: str, table: Table, names: list[str]) -> list[str]:
    """A line of something that is no generator."""
    scores = {name: text.number(value) for name, value in table.references[reference].items()}
    return [{"#": "ref", "method": text.reference(reference), **scores}.get(n, "") for n in names]


def remarks(table: Table) -> list[str]:
    """What a reader must know of some rows."""
    return [
        f"{text.short_name(row)}: {remark}" for row in table.rows for remark in text.remarks(row)
    ]


def cited_cells(figure: Figure, table: Table, names: list[str]) -> list[str]:
    """A line of a published figure."""
    scores = {name: text.cited(score) for name, score in figure.scores.items()}
    if figure.unverified:
        scores[table.score] = "unverified"
    about = {"#": "cited", "method": f"{figure.method} ({figure.short})"}
    return [(scores | about).get(name, "") for name in names]


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
