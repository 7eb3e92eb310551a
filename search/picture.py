"""A search in one picture: the best score so far, and what is believed along each setting."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saddlepoint.atomic import whole_file
from saddlepoint.records.record import LARGER
from saddlepoint.search.refit import Every
from saddlepoint.search.space import Interval, Parameter, Space
from saddlepoint.search.study import Study
from saddlepoint.search.surrogate import LazyGaussianProcess
from saddlepoint.search.trial import COMPLETE, Trial

#: Points of a slice.
RESOLUTION = 101
#: Panels beside each other.
PANELS = 3
#: Complete trials without which nothing is believed.
FEWEST = 3


def draw(study: Study, path: Path) -> None:
    """Write a PNG: the first panel is the course of the search, the others are slices.

    A slice goes through the best point along one setting. It shows the mean of a Gaussian process
    that has seen all complete trials, two standard deviations around it, and the trials, which
    differ from the best point in the other settings too.

    Args:
        study: that is over, or cut off.
        path: of the PNG.

    Raises:
        UnwritableError: it cannot be written.
    """
    complete = [trial for trial in study.trials if trial.state == COMPLETE]
    if not complete:
        return
    parameters = study.search.space.parameters if len(complete) >= FEWEST else ()
    rows = -(-(1 + len(parameters)) // PANELS)
    columns = min(PANELS, 1 + len(parameters))
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels[1 + len(parameters) :]:
        panel.set_axis_off()
    _course(panels[0], study)
    if parameters:
        model = _model(study, complete)
        for panel, parameter in zip(panels[1:], parameters, strict=False):
            _slice(panel, study, parameter, model, complete)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _course(panel: Axes, study: Study) -> None:
    over = [trial for trial in study.trials if trial.counts]
    numbers = np.arange(1, len(over) + 1)
    scores = np.array([np.nan if t.score is None else t.score for t in over])
    best = np.fmax.accumulate if study.goal.direction == LARGER else np.fmin.accumulate
    panel.plot(numbers, scores, "o", color="0.6", markersize=4, label="points")
    panel.step(numbers, best(scores), where="post", color="C0", label="best so far")
    failed = numbers[np.isnan(scores)]
    if len(failed):
        bottom = np.full(len(failed), 0.02)
        panel.plot(
            failed, bottom, "x", color="C3", transform=panel.get_xaxis_transform(), label="failed"
        )
    panel.set_xlabel("points")
    panel.set_ylabel(study.goal.name or "score")
    panel.legend(fontsize="small")


def _model(study: Study, complete: list[Trial]) -> LazyGaussianProcess:
    """One that has learned its hyper-parameters from all scores at the end."""
    space = study.search.space
    last = len(complete)
    model = LazyGaussianProcess(space.columns, Every(last))
    scores = np.array([trial.score for trial in complete])
    for row, trial in enumerate(complete):
        model.see(space.encode(trial.values), scores[: row + 1])
    model.refit()
    return model


def _slice(
    panel: Axes,
    study: Study,
    parameter: Parameter,
    model: LazyGaussianProcess,
    complete: list[Trial],
) -> None:
    space, best = study.search.space, study.best
    values = _values_of(parameter)
    mean, std = model.predict(np.array([_with(space, best, parameter, v) for v in values]))
    seen = [trial.values[parameter.key] for trial in complete]
    scores = [trial.score for trial in complete]
    if isinstance(parameter, Interval):
        panel.plot(values, mean, color="C0")
        panel.fill_between(values, mean - 2 * std, mean + 2 * std, color="C0", alpha=0.2)
        if parameter.log:
            panel.set_xscale("log")
    else:
        panel.errorbar(values, mean, 2 * std, fmt="s", color="C0", capsize=4)
        seen = [str(value) for value in seen]
    panel.plot(seen, scores, "o", color="0.6", markersize=4)
    panel.plot([best.values[parameter.key]], [best.score], "*", color="C1", markersize=12)
    panel.set_xlabel(parameter.key, fontsize="small")


def _values_of(parameter: Parameter) -> list[float] | list[str]:
    if not isinstance(parameter, Interval):
        return list(parameter.values)
    spaced = np.geomspace if parameter.log else np.linspace
    values = spaced(parameter.low, parameter.high, RESOLUTION)
    return sorted({round(v) for v in values}) if parameter.whole else list(values)


def _with(space: Space, best: Trial, parameter: Parameter, value: float | str) -> np.ndarray:
    return space.encode({**best.values, parameter.key: value})
