"""The leaderboard on a terminal."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from saddlepoint.leaderboard import text
from saddlepoint.leaderboard.grouping import Table
from saddlepoint.leaderboard.published import Figure
from saddlepoint.leaderboard.reading import Failure, printable


def show(tables: list[Table], figures: Iterable[Figure], console: Console) -> None:
    """Print every table, and after the last of a data set its figures under other protocols.

    Args:
        tables: in the order of printing.
        figures: all published ones.
        console: where to.
    """
    figures = list(figures)
    for position, table in enumerate(tables):
        _show_table(table, console)
        last = position + 1 == len(tables) or tables[position + 1].dataset != table.dataset
        if last:
            shown = [f for t in tables if t.dataset == table.dataset for f in t.published]
            others = [f for f in figures if f.fits(table.dataset, table.shape) and f not in shown]
            _show_published(table.dataset, others, console)


def show_failures(failures: Iterable[Failure], console: Console) -> None:
    """Print the runs that have failed, and why."""
    failures = list(failures)
    if failures:
        console.print(Text(f"failed: {text.count(len(failures), 'run')}", "bold red"))
    for failure in failures:
        console.print(Text(f"  {printable(failure.folder)}: {failure.sentence}"), soft_wrap=True)


def _show_table(table: Table, console: Console) -> None:
    console.print(Text(text.heading(table), style="bold"))
    console.print(Text(text.protocol(table), style="dim"))
    if table.differs:
        listed = text.differences(table.differs)
        console.print(Text(f"differs from the other {table.score} tables in: {listed}", "dim"))
    if mixed := text.mixed_versions(table):
        console.print(Text(mixed, "dim"))
    columns = _columns(table)
    lines = [[cell(row) for _, cell in columns] for row in table.rows]
    cited = [
        _published_cells(figure, table, [name for name, _ in columns]) for figure in table.published
    ]
    # A column in which no row has anything is not shown.
    kept = [i for i, _ in enumerate(columns) if any(line[i] for line in [*lines, *cited])]
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for i in kept:
        name = columns[i][0]
        left = name in ("method", "terms", "settings", "hardware", "commit")
        heading = text.column(name, table.score)
        grid.add_column(Text(heading), justify="left" if left else "right", overflow="fold")
    for line in lines:
        style = "bold" if line is lines[0] else ""
        grid.add_row(*(Text(line[i], style) for i in kept))
    if cited:
        grid.add_section()
        for line in cited:
            grid.add_row(*(Text(line[i], "italic cyan") for i in kept))
    console.print(grid)
    for row in table.rows:
        for remark in text.remarks(row):
            console.print(Text(f"  #{row.rank} {text.row_name(row)}: {remark}", "yellow"))
    for figure in {figure.short: figure for figure in table.published}.values():
        about = f" (±: {figure.plus_minus})" if figure.plus_minus else ""
        console.print(Text(f"  published: {figure.citation}{about}", "dim cyan"))
    console.print()


def _columns(table: Table) -> list[tuple[str, object]]:
    score = table.score
    others = [
        (name, lambda row, name=name: text.number(row.mean(name))) for name in table.other_scores
    ]
    return [
        ("#", lambda row: str(row.rank)),
        ("method", lambda row: row.run.method),
        ("terms", text.terms),
        ("settings", text.settings),
        ("kimg", text.kimg),
        (score, lambda row: text.number(row.mean(score))),
        ("± training seeds", lambda row: text.training_spread(row, score)),
        ("± evaluation seeds", lambda row: text.evaluation_spread(row, score)),
        *others,
        ("wall-clock", lambda row: text.duration(row.hours)),
        ("hardware", text.hardware),
        ("commit", text.commits),
    ]


def _published_cells(figure: Figure, table: Table, names: list[str]) -> list[str]:
    cells = dict.fromkeys(names, "")
    cells["#"] = "cited"
    cells["method"] = f"{figure.method} [{figure.short}]"
    for name, score in figure.scores.items():
        if name in cells:
            cells[name] = text.cited(score)
    if figure.unverified:
        cells[table.score] = "unverified"
    return [cells[name] for name in names]


def _show_published(dataset: str, figures: list[Figure], console: Console) -> None:
    if not figures:
        return
    heading = f"{dataset} · published under other protocols, not comparable"
    console.print(Text(heading, "italic cyan"))
    names = list(dict.fromkeys(name for figure in figures for name in figure.scores))
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, style="cyan")
    for name in ("method", "protocol", *names, "source", "note"):
        grid.add_column(name, justify="right" if name in names else "left", overflow="fold")
    for figure in figures:
        cells = [text.cited(figure.scores.get(name)) for name in names]
        note = "unverified, so left empty" if figure.unverified else figure.note
        grid.add_row(*map(Text, (figure.method, figure.protocol, *cells, figure.short, note)))
    console.print(grid)
    console.print()
