"""Scores over training as SVG line charts; sizes of text and colours are the style sheet's."""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from html import escape

from saddlepoint.leaderboard import text
from saddlepoint.leaderboard.grouping import Table, series
from saddlepoint.leaderboard.reading import Point
from saddlepoint.leaderboard.rows import Row

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 50, 20, 12, 46
MOST_POINTS = 150  # on a line; a longer one is thinned
LOG_FROM = 4  # largest score over smallest: from here on the axis is logarithmic

Scale = Callable[[float], float]  # from values to places


@dataclass(frozen=True)
class Vertex:
    """A row after one iteration, over the training seeds that were scored there."""

    iteration: int
    kimg: float | None
    hours: float | None
    mean: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True)
class Curve:
    """A row's scores over training; ``look`` are its classes, ``row`` the row's anchor."""

    name: str
    look: str
    row: str
    vertices: list[Vertex]


def curve(row: Row, table: Table, name: str, look: str, anchor: str) -> Curve:
    """Scores of a row, iteration by iteration."""
    found: dict[int, list[Point]] = {}
    for entry in (*row.entries, *row.behind):
        for point in series(entry.run, table):
            found.setdefault(point.iteration, []).append(point)
    vertices = [_vertex(i, points, table.score) for i, points in sorted(found.items())]
    return Curve(name, look, anchor, _thinned(vertices))


def charts(curves: list[Curve], score: str) -> list[str]:
    """The score against kimg and against hours; nothing where no line has two points."""
    drawn = []
    for axis in ("kimg", "hours"):
        known = [
            replace(c, vertices=[v for v in c.vertices if getattr(v, axis) is not None])
            for c in curves
        ]
        if any(len(c.vertices) > 1 for c in known):
            drawn.append(_svg(known, axis, score))
    return drawn


def _vertex(iteration: int, points: list[Point], score: str) -> Vertex:
    values = [point.scores[score].mean for point in points]
    kimgs = [point.kimg for point in points if point.kimg is not None]
    hours = [point.hours for point in points if point.hours is not None]
    return Vertex(
        iteration=iteration,
        kimg=statistics.fmean(kimgs) if kimgs else None,
        hours=statistics.fmean(hours) if hours else None,
        mean=statistics.fmean(values),
        low=min(values),
        high=max(values),
        seeds=len(values),
    )


def _thinned(vertices: list[Vertex]) -> list[Vertex]:
    step = math.ceil(len(vertices) / MOST_POINTS) or 1
    return vertices[::-1][::step][::-1]  # the last one stays


def _svg(curves: list[Curve], axis: str, score: str) -> str:
    vertices = [v for c in curves for v in c.vertices]
    largest = max(getattr(v, axis) for v in vertices) or 1.0
    low, high = min(v.low for v in vertices), max(v.high for v in vertices)
    logarithmic = low > 1e-9 * high and high / low >= LOG_FROM
    if logarithmic:
        bottom, top = low * (low / high) ** 0.06, high * (high / low) ** 0.02
        y_ticks = _log_ticks(bottom, top)
    else:
        margin = 0.06 * ((high - low) or abs(high) or 1.0)
        bottom, top = low - margin, high + margin
        y_ticks = _ticks(bottom, top)
    unit, label = 1.0, "thousands of real images (kimg)"
    if axis == "hours":
        unit, label = (1 / 60, "wall-clock minutes") if largest < 1 else (1.0, "wall-clock hours")
    x_ticks = _ticks(0.0, largest / unit)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / largest

    def y(value: float) -> float:
        if logarithmic:
            share = math.log(value / bottom) / math.log(top / bottom)
        else:
            share = (value - bottom) / (top - bottom)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    parts = [_grid([(x(t * unit), t) for t in x_ticks], [(y(t), t) for t in y_ticks])]
    parts.append(
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}"'
        f' text-anchor="middle">{escape(label)}</text>'
    )
    # The best row is drawn last, on top.
    parts += [_line(c, axis, x, y, score) for c in reversed(curves) if c.vertices]
    about = f"{score} against {label}" + (", logarithmic scale" if logarithmic else "")
    return (
        f'<figure class="chart"><figcaption>{escape(about)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(about)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def _grid(x_ticks: list[tuple[float, float]], y_ticks: list[tuple[float, float]]) -> str:
    """Ticks as (place, value)."""
    floor = HEIGHT - BOTTOM
    parts = []
    for place, value in y_ticks:
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place:.1f}"'
            f' y2="{place:.1f}"/><text class="tick" x="{LEFT - 7}" y="{place:.1f}"'
            f' dy="0.32em" text-anchor="end">{_tick(value)}</text>'
        )
    for place, value in x_ticks:
        parts.append(
            f'<text class="tick" x="{place:.1f}" y="{floor}" dy="1.3em"'
            f' text-anchor="middle">{_tick(value)}</text>'
        )
    parts.append(f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>')
    return "".join(parts)


def _line(curve: Curve, axis: str, x: Scale, y: Scale, score: str) -> str:
    places = [(x(getattr(v, axis)), v) for v in curve.vertices]
    parts = []
    if len(places) > 1 and any(v.seeds > 1 for _, v in places):
        upper = [f"{px:.1f},{y(v.high):.1f}" for px, v in places]
        lower = [f"{px:.1f},{y(v.low):.1f}" for px, v in reversed(places)]
        parts.append(f'<polygon class="band" points="{" ".join(upper + lower)}"/>')
    if len(places) > 1:
        points = " ".join(f"{px:.1f},{y(v.mean):.1f}" for px, v in places)
        parts.append(f'<polyline class="line" points="{points}"/>')
    parts += [
        f'<circle r="2.5" cx="{px:.1f}" cy="{y(v.mean):.1f}"'
        f' data-hover="{escape(_hover(v, score))}"/>'
        for px, v in places
    ]
    return (
        f'<g class="curve {curve.look}" data-row="{curve.row}"'
        f' data-name="{escape(curve.name)}">{"".join(parts)}</g>'
    )


def _hover(vertex: Vertex, score: str) -> str:
    value = f"{score} {text.number(vertex.mean)}"
    if vertex.seeds > 1:
        value += f" ({text.number(vertex.low)} to {text.number(vertex.high)}, {vertex.seeds} seeds)"
    at = [] if vertex.kimg is None else [f"{text.thousands(vertex.kimg)} kimg"]
    at += [] if vertex.hours is None else [text.duration(vertex.hours)]
    return "\n".join([value, " · ".join(at), f"iteration {vertex.iteration:,}"])


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers inside a range."""
    size = high - low
    power = 10 ** math.floor(math.log10(size / 5))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if size / (m * power) <= 6)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers inside a range, as many digits of each power of ten as there is room for."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,)):
        ticks = [m * 10.0**p for p in powers for m in digits if low <= m * 10.0**p <= high]
        if len(ticks) <= 8:
            break
    return ticks


def _tick(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:.10g}".replace("-", "\N{MINUS SIGN}")
