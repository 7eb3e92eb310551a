"""Samples as pictures: grids of images, scatter plots of points."""

import io
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

SMALLEST_TILE = 64  # pixels; smaller images are enlarged by a whole factor


def to_uint8(images: Tensor) -> Tensor:
    """Map [-1, 1] to 0 .. 255, rounded."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def save_picture(samples: Tensor, path: Path, columns: int | None = None) -> Path:
    """Write samples to a PNG, see `picture_of`; it is written whole or not at all."""
    return save(picture_of(samples, columns), path)


def picture_of(samples: Tensor, columns: int | None = None) -> Image.Image:
    """Images (n, c, h, w) as a grid, points (n, 2) as a scatter plot.

    Args:
        samples: in [-1, 1] (points may lie outside).
        columns: images in a row; about a square by default.
    """
    return _scatter(samples) if samples.ndim == 2 else _grid(samples, columns)


def save(picture: Image.Image, path: Path) -> Path:
    """Write a PNG whole or not at all, and its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    picture.save(temporary, format="PNG")
    temporary.replace(path)
    return path


def drawn(figure: Figure) -> Image.Image:
    """A Matplotlib figure in pixels."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return Image.open(stream).convert("RGB")


def enlarged(images: Tensor) -> Tensor:
    """Repeat the pixels of images (n, c, h, w) until they are `SMALLEST_TILE` wide or nearly so."""
    factor = max(1, SMALLEST_TILE // images.shape[-1])
    return images.repeat_interleave(factor, dim=-1).repeat_interleave(factor, dim=-2)


def _grid(images: Tensor, columns: int | None) -> Image.Image:
    columns = columns or math.ceil(math.sqrt(len(images)))
    tiles = enlarged(to_uint8(images.cpu()))
    grid = make_grid(tiles, nrow=columns, padding=2, pad_value=255)
    return Image.fromarray(grid.permute(1, 2, 0).numpy())


def _scatter(points: Tensor) -> Image.Image:
    figure = Figure(figsize=(5, 5), dpi=100)
    axes = figure.subplots()
    axes.scatter(*points.cpu().T, s=3, alpha=0.4, linewidths=0)
    axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal", xlabel="x", ylabel="y")
    figure.tight_layout()
    return drawn(figure)
