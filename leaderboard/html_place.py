"""A data set's section of the page."""

from saddlepoint.leaderboard.grouping import Row, Table

COLOURS = 8


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

    def colour(self, row: Row) -> int:
        """Number in the palette; the last one is shared by all that come too late."""
        return min(self._numbers[row.key], COLOURS)

    def row_anchor(self, row: Row) -> str:
        """Where the row's samples and commands are."""
        return f"{self.anchor}-row-{self._numbers[row.key]}"
