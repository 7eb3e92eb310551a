"""From records to a comparison of runs: read, group, rank, and show. Nothing here needs torch."""

from evaluation.leaderboard.grouping import Row, Table, tables
from evaluation.leaderboard.published import Figure, published_figures
from evaluation.leaderboard.reading import Point, Reading, Run, Score, read

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
