"""Figures that others have published, from ``leaderboard/published.yaml``."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from saddlepoint.errors import UserError
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


def own_figures(path: Path) -> tuple[Figure, ...]:
    """Read figures that a user cites, from a file laid out as ``published.yaml`` is.

    Raises:
        UserError: there is no such file, or it is laid out otherwise.
    """
    try:
        return published_figures(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give a YAML file.") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise UserError(f"{path} is no YAML{line}: {getattr(error, 'problem', error)}.") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} is laid out wrongly ({error}): each source has short, citation, protocol and"
            " figures, and each figure dataset, method, and scores as a number or [number, ±]; see"
            " docs/leaderboard.md."
        ) from error


def _figure(entry: dict[str, Any], source: dict[str, Any]) -> Figure:
    scores = {name: _score(value) for name, value in entry.items() if name not in ABOUT}
    protocol = entry.get("protocol", source.get("protocol"))
    for what in (entry["dataset"], entry["method"], source["short"], source["citation"], protocol):
        if not isinstance(what, str):
            raise ValueError(f"{what!r} is no text")
    if bool(scores) == bool(entry.get("unverified")):
        raise ValueError(f"{entry['method']} on {entry['dataset']}: scores, or unverified: true")
    return Figure(
        dataset=entry["dataset"],
        resolution=entry.get("resolution"),
        method=entry["method"],
        scores=scores,
        protocol=protocol,
        short=source["short"],
        citation=source["citation"],
        plus_minus=source.get("plus_minus", ""),
        note=entry.get("note", ""),
    )


def _score(value: float | list[float]) -> Score:
    mean, spread = value if isinstance(value, list) else (value, None)
    for number in (mean, *([] if spread is None else [spread])):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"{value!r} is no score")
    return Score(mean=mean, spread=spread, seeds=0)  # how many seeds, the source's text says
