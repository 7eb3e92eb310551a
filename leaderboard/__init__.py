"""From records to a comparison of runs: read, group, rank, and show. Nothing here needs torch."""

from saddlepoint.leaderboard.grouping import Row, Table, tables
from saddlepoint.leaderboard.published import Figure, published_figures
from saddlepoint.leaderboard.reading import Point, Reading, Run, Score, read

__all__ = [
    "Figure",
    "Point",
    "Reading",
    "Row",
    "Run",
    "Score",
    "Table",
    "published_figures",
    "read",
    "tables",
]
