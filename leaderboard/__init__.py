"""From records to a comparison of runs: read, group, rank, and show. Nothing here needs torch."""

from saddlepoint.leaderboard.grouping import Table, tables
from saddlepoint.leaderboard.published import Figure, own_figures, published_figures
from saddlepoint.leaderboard.reading import Point, Reading, Run, Score, read
from saddlepoint.leaderboard.rows import Row

__all__ = [
    "Figure",
    "Point",
    "Reading",
    "Row",
    "Run",
    "Score",
    "Table",
    "own_figures",
    "published_figures",
    "read",
    "tables",
]
