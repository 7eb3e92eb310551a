"""Samples as pictures: grids of images, scatter plots of points."""

import math
from pathlib import Path

import matplotlib
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  (the backend is chosen first)

SMALLEST_TILE = 64  # pixels; smaller images are enlarged by a whole factor


def to_uint8(images: Tensor) -> Tensor:
    """Map [-1, 1] to 0 .. 255, rounded."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def save_picture(samples: Tensor, path: Path, columns: int | None = None) -> Path:
    """Write samples to a PNG: images (n, c, h, w) as a grid, points (n, 2) as a scatter plot.

    Args:
        samples: in [-1, 1] (points may lie outside).
        path: of the PNG; written whole or not at all.
        columns: images in a row; about a square by default.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    if samples.ndim == 2:
        _scatter(samples, temporary)
    else:
        _grid(samples, columns).save(temporary, format="PNG")
    temporary.replace(path)
    return path


def _grid(images: Tensor, columns: int | None) -> Image.Image:
    columns = columns or math.ceil(math.sqrt(len(images)))
    factor = max(1, SMALLEST_TILE // images.shape[-1])
    tiles = to_uint8(images.cpu())
    tiles = tiles.repeat_interleave(factor, dim=-1).repeat_interleave(factor, dim=-2)
    grid = make_grid(tiles, nrow=columns, padding=2, pad_value=255)
    return Image.fromarray(grid.permute(1, 2, 0).numpy())


def _scatter(points: Tensor, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(5, 5), dpi=100)
    axes.scatter(*points.cpu().T, s=3, alpha=0.4, linewidths=0)
    axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal", xlabel="x", ylabel="y")
    figure.tight_layout()
    figure.savefig(path, format="png")
    plt.close(figure)
