"""Figures that others have published, from ``leaderboard/published.yaml``."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from saddlepoint.leaderboard.reading import Score

PATH = Path(__file__).resolve().parent / "published.yaml"

#: What describes a figure; everything else in its entry is a score.
ABOUT = ("dataset", "method", "resolution", "protocol", "note", "unverified")


@dataclass(frozen=True)
class Figure:
    """A published row.

    Attributes:
        dataset: name, as data modules have it.
        resolution: of its images; None where the name says it.
        method: as the source calls it.
        scores: {name: score}; empty if the figures exist but could not be verified.
        protocol: name, or what is known of it.
        short: author and year.
        citation: in full.
        plus_minus: what the spread of the scores is taken over.
        note: one remark of the source.
    """

    dataset: str
    resolution: int | None
    method: str
    scores: dict[str, Score]
    protocol: str
    short: str
    citation: str
    plus_minus: str
    note: str

    @property
    def unverified(self) -> bool:
        """Whether its figures are known to exist and could not be read."""
        return not self.scores

    def fits(self, dataset: str, shape: tuple[int, ...]) -> bool:
        """Whether it belongs beside measurements on ``dataset`` with items of ``shape``."""
        known = self.resolution is None or not shape or shape[-1] == self.resolution
        return self.dataset == dataset and known


@functools.cache
def published_figures(path: Path = PATH) -> tuple[Figure, ...]:
    """Read all published figures.

    Raises:
        ValueError: an entry has scores although it is unverified, or none although it is not.
    """
    sources = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tuple(
        _figure(entry, source) for source in sources.values() for entry in source["figures"]
    )


def _figure(entry: dict[str, Any], source: dict[str, Any]) -> Figure:
    scores = {name: _score(value) for name, value in entry.items() if name not in ABOUT}
    if bool(scores) == bool(entry.get("unverified")):
        raise ValueError(f"{entry['method']} on {entry['dataset']}: scores, or unverified: true")
    return Figure(
        dataset=entry["dataset"],
        resolution=entry.get("resolution"),
        method=entry["method"],
        scores=scores,
        protocol=entry.get("protocol", source["protocol"]),
        short=source["short"],
        citation=source["citation"],
        plus_minus=source.get("plus_minus", ""),
        note=entry.get("note", ""),
    )


def _score(value: float | list[float]) -> Score:
    mean, spread = value if isinstance(value, list) else (value, None)
    return Score(mean=mean, spread=spread, seeds=0)  # how many seeds, the source's text says
