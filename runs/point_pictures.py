"""Samples of points over the density that they should have, on the line and in the plane."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from saddlepoint.runs.pictures import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REACH = 1.2  # coordinates shown, to both sides
STEPS = 160  # of the density, along each axis
BINS = 96  # of a histogram
FAINTEST = 8.0  # the density is shown down to exp(-8) of its peak
SAMPLES, TRUTH = "#d1491b", "#1b6ca8"


class PointPictures:
    """Draws samples (n, 1) or (n, 2) over the density of the data, with a caption.

    Args:
        data: a data module of `datamodules.toys`; whatever has ``density(points)``.
    """

    def __init__(self, data: Any) -> None:
        line = torch.linspace(-REACH, REACH, STEPS)
        self.dimensions = data.spec.shape[0]
        places = torch.cartesian_prod(*[line] * self.dimensions)
        self.line = line.numpy()
        self.density = data.density(places.view(-1, self.dimensions)).numpy()
        self.targets = None if data.mode_centres is None else data.mode_centres.numpy()

    @staticmethod
    def suit(data: Any) -> bool:
        """Whether the data have a known density that can be drawn."""
        return hasattr(data, "density") and data.spec.shape in ((1,), (2,))

    def draw(self, points: Tensor, caption: str = "") -> Image.Image:
        """Draw samples (n, d); coordinates outside of the frame are not seen."""
        from matplotlib.figure import Figure  # a run on images needs none

        figure = Figure(figsize=(4.2, 4.5), dpi=100, layout="constrained")
        axes = figure.subplots()
        draw = self._in_the_plane if self.dimensions == 2 else self._on_the_line
        draw(axes, points.cpu().numpy())
        axes.set_xlim(-REACH, REACH)
        axes.tick_params(labelsize=7)
        axes.set_title(caption, fontsize=8, loc="left")
        picture = drawn(figure)
        picture.info = {"Title": " · ".join(filter(None, caption.split("\n")))}
        return picture

    def _in_the_plane(self, axes: "Axes", points: np.ndarray) -> None:
        log = np.log(self.density.clip(min=1e-30)).reshape(STEPS, STEPS).T
        edges = (-REACH, REACH, -REACH, REACH)
        peak = log.max()
        axes.imshow(
            log, extent=edges, origin="lower", cmap="Blues", vmin=peak - FAINTEST, vmax=peak + 2
        )
        if self.targets is not None:
            axes.scatter(*self.targets.T, s=70, facecolors="none", edgecolors=TRUTH, linewidths=0.7)
        axes.scatter(*points.T, s=2.5, color=SAMPLES, alpha=0.6, linewidths=0)
        axes.set(ylim=(-REACH, REACH), aspect="equal")

    def _on_the_line(self, axes: "Axes", points: np.ndarray) -> None:
        axes.fill_between(self.line, self.density, color=TRUTH, alpha=0.25, lw=0, label="true")
        counts, edges = np.histogram(points, BINS, (-REACH, REACH))
        heights = counts / len(points) / np.diff(edges)
        axes.stairs(heights, edges, color=SAMPLES, lw=1.0, label="samples")
        # A collapsed generator's spike would hide everything else.
        axes.set_ylim(0, 2.2 * self.density.max())
        axes.legend(frameon=False, fontsize=7, loc="upper right")
