"""The leaderboard on a terminal."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from saddlepoint.leaderboard import flat, text
from saddlepoint.leaderboard.grouping import Table
from saddlepoint.leaderboard.published import Figure
from saddlepoint.leaderboard.reading import Failure, printable

LEFT = ("method", "terms", "settings", "hardware", "commit", "parameters")
#: Columns that a narrow terminal does without, the first to go first.
DISPENSABLE = ("commit", "hardware", "parameters", "wall-clock", "± evaluation seeds")
WIDEST = 10_000  # characters


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
    if any(row.places for table in tables for row in table.rows):
        console.print(Text(text.PLACES, "dim"))


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
    columns = flat.columns_of(table)
    names = [name for name, _ in columns]
    blocks = [[[cell(row) for _, cell in columns] for row in b.rows] for b in table.blocks]
    cited = [flat.cited_cells(figure, table, names) for figure in table.published]
    references = [flat.reference_cells(name, table, names) for name in table.references]
    # A column in which no row has anything is not shown.
    lines = [*(line for block in blocks for line in block), *references, *cited]
    kept = [i for i, name in enumerate(names) if name == "#" or any(line[i] for line in lines)]

    def grid_of(kept: list[int]) -> Grid:
        grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for i in kept:
            heading = Text(text.column(names[i], table.score))
            justify = "left" if names[i] in LEFT else "right"
            cells = [str(heading), *(line[i] for line in lines)]
            longest = max(len(word) for cell in cells for word in cell.split() or [""])
            grid.add_column(heading, justify=justify, overflow="fold", min_width=longest)

        def add(line: list[str], style: str) -> None:
            grid.add_row(*(Text(line[i], style) for i in kept))

        for block, shown in zip(table.blocks, blocks, strict=True):
            if flat.is_labelled(table, block):
                add(flat.label_cells(text.budget(block), names), "dim italic")
            for row, line in zip(block.rows, shown, strict=True):
                add(line, "bold" if row.places == (1, 1) else "")
            grid.add_section()
        for line in references:
            add(line, "italic green")
        grid.add_section()
        for line in cited:
            add(line, "italic cyan")
        return grid

    left_out = []
    for name in (*DISPENSABLE, *reversed(table.other_scores)):
        # Where there is room without end, the least is what the longest words take.
        room = console.options.update(max_width=WIDEST)
        if Measurement.get(console, room, grid_of(kept)).minimum <= console.width:
            break
        if names.index(name) in kept:
            kept.remove(names.index(name))
            left_out.append(name)
    console.print(grid_of(kept))
    if left_out:
        listed = ", ".join(left_out)
        console.print(Text(f"  no room for {listed}: a wider terminal, --html or --csv", "dim"))
    for note in flat.remarks(table):
        console.print(Text(f"  {note}", "yellow"))
    for figure in {figure.short: figure for figure in table.published}.values():
        about = f" (±: {figure.plus_minus})" if figure.plus_minus else ""
        console.print(Text(f"  published: {figure.citation}{about}", "dim cyan"))
    console.print()


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
