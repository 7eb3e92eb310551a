"""What `sample.py` can show of a trained generator: one function a picture."""

from collections.abc import Callable

from runs.panels.neighbours import neighbours
from runs.panels.panel import Panel, Subject
from runs.panels.sample_size import sample_size
from runs.panels.samples import classes, grid, interpolation, truncation
from runs.panels.spectrum import spectrum

PANELS: dict[str, Callable[[Subject], Panel]] = {
    "grid": grid,
    "interpolation": interpolation,
    "truncation": truncation,
    "classes": classes,
    "neighbours": neighbours,
    "spectrum": spectrum,
    "sample_size": sample_size,
}
