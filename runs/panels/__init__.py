"""What `sample.py` can show of a trained generator: one function a picture."""

from collections.abc import Callable

from saddlepoint.runs.panels.edits import attributes, edit
from saddlepoint.runs.panels.few_shot import target_classes, translate
from saddlepoint.runs.panels.grids import classes, grid, interpolation, truncation
from saddlepoint.runs.panels.neighbours import neighbours
from saddlepoint.runs.panels.panel import Panel, Subject
from saddlepoint.runs.panels.sample_size import sample_size
from saddlepoint.runs.panels.spectrum import spectrum

PANELS: dict[str, Callable[[Subject], Panel]] = {
    "grid": grid,
    "interpolation": interpolation,
    "truncation": truncation,
    "classes": classes,
    "attributes": attributes,
    "edit": edit,
    "target_classes": target_classes,
    "translate": translate,
    "neighbours": neighbours,
    "spectrum": spectrum,
    "sample_size": sample_size,
}
