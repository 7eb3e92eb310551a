"""A data set's section of the page."""

from saddlepoint.leaderboard.grouping import Table
from saddlepoint.leaderboard.rows import Row

COLOURS = 8
DASHES = 3  # each with all colours; whatever comes later is grey


class Place:
    """A data set's section of the page: its tables, and its rows under whatever protocol.

    Attributes:
        rows: {settings: rows of those settings, one of each table that has them}; their order
            gives each a colour and an anchor.
    """

    def __init__(self, name: str, number: int, tables: list[Table]) -> None:
        self.name, self.tables = name, tables
        self.anchor = f"data-{number}"
        self.rows: dict[str, list[tuple[Table, Row]]] = {}
        for table in tables:
            for row in table.rows:
                self.rows.setdefault(row.key, []).append((table, row))
        self._numbers = {key: i for i, key in enumerate(self.rows)}

    def look(self, row: Row) -> str:
        """Classes of the style sheet: the row's colour, and how its line is dashed."""
        dash, colour = divmod(self._numbers[row.key], COLOURS)
        return f"c{colour} d{dash}" if dash < DASHES else f"c{COLOURS} d0"

    def row_anchor(self, row: Row) -> str:
        """Where the row's samples and commands are."""
        return f"{self.anchor}-row-{self._numbers[row.key]}"

    def words(self, row: Row) -> str:
        """What a search finds the row by: method, terms, settings, folders."""
        folders = [run.folder.name for _, same in self.rows[row.key] for run in same.runs]
        settings = [f"{key}={value}" for key, value in row.settings.items()]
        found = dict.fromkeys([row.run.method, *row.run.terms, *settings, *folders])
        return " ".join(found).lower()
