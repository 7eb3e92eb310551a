"""Samples as pictures: grids of images, columns of images that belong together, scatter plots."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from saddlepoint.atomic import whole_file
from saddlepoint.runs.captions import LINE, SIZE, png_text, wrapped
from saddlepoint.runs.film_strip import TILES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALLEST_TILE = 64  # pixels; smaller images are enlarged by a whole factor
GAP = 2  # pixels between images
HEADING = SIZE
SPACING = 4  # pixels between images with texts
SPACE = 24  # and between blocks of them


def to_uint8(images: Tensor) -> Tensor:
    """Map [-1, 1] to 0 .. 255, rounded."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def picture_of(samples: Tensor | Mapping[str, Tensor], columns: int | None = None) -> Image.Image:
    """Images (n, c, h, w) as a grid, points (n, 2) as a scatter plot.

    Args:
        samples: in [-1, 1] (points may lie outside). Several stacks by name are shown in columns
            under their names, row i being the i-th of each; one stack is shown as if alone.
        columns: images in a row of a grid; about a square by default.
    """
    if isinstance(samples, Mapping):
        if len(samples) > 1:
            return _in_columns(samples)
        (samples,) = samples.values()
    return _scatter(samples) if samples.ndim == 2 else _grid(samples, columns)


def save(picture: Image.Image, path: Path) -> Path:
    """Write a PNG whole or not at all, with what is known of it, and its folder if need be.

    Raises:
        UserError: it cannot be written.
    """
    with whole_file(path) as file:
        picture.save(file, format="PNG", pnginfo=png_text(picture))
    return path


def drawn(figure: "Figure") -> Image.Image:
    """A Matplotlib figure in pixels."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return Image.open(stream).convert("RGB")


def enlarged(images: Tensor) -> Tensor:
    """Repeat the pixels of images (n, c, h, w) until they are `SMALLEST_TILE` wide or nearly so."""
    factor = max(1, SMALLEST_TILE // images.shape[-1])
    return images.repeat_interleave(factor, dim=-1).repeat_interleave(factor, dim=-2)


def side_by_side(
    blocks: Sequence[tuple[str, Tensor, list[list[str]] | None]], caption: str
) -> Image.Image:
    """Blocks of images side by side, a text above each block and below each image.

    Args:
        blocks: heading, images (rows, columns, c, h, w) uint8, and their texts, if there are any.
        caption: below everything.
    """
    font = ImageFont.load_default(HEADING)
    line = LINE if any(texts for _, _, texts in blocks) else 0
    tiles = [
        enlarged(images.flatten(0, 1)).unflatten(0, images.shape[:2]) for _, images, _ in blocks
    ]
    height, width = tiles[0].shape[-2:]
    lefts, right = [], SPACING
    for (heading, _, _), images in zip(blocks, tiles, strict=True):
        lefts.append(right)
        room = max(images.shape[1] * (width + SPACING) - SPACING, round(font.getlength(heading)))
        right += room + SPACE
    right += SPACING - SPACE
    lines = wrapped(caption, font, right - 2 * SPACING)
    bottom = LINE + SPACING + len(tiles[0]) * (height + line + SPACING)
    picture = Image.new("RGB", (right, bottom + len(lines) * LINE + SPACING), "white")
    draw = ImageDraw.Draw(picture)
    for (heading, _, texts), images, left in zip(blocks, tiles, lefts, strict=True):
        draw.text((left, SPACING), heading, "black", font)
        for row, images_of_row in enumerate(images):
            y = LINE + SPACING + row * (height + line + SPACING)
            for column, image in enumerate(images_of_row):
                x = left + column * (width + SPACING)
                pixels = image.expand(3, -1, -1).permute(1, 2, 0).numpy()
                picture.paste(Image.fromarray(pixels), (x, y))
                text = texts[row][column] if texts else ""
                draw.text((x + width / 2, y + height + 1), text, "black", font, anchor="ma")
    for number, line in enumerate(lines):
        draw.text((SPACING, bottom + number * LINE), line, "black", font)
    return picture


def _grid(images: Tensor, columns: int | None) -> Image.Image:
    columns = columns or math.ceil(math.sqrt(len(images)))
    tiles = enlarged(to_uint8(images.cpu()))
    picture = Image.fromarray(_placed(tiles, columns).permute(1, 2, 0).numpy())
    picture.info[TILES] = f"{tiles.shape[-1]} {tiles.shape[-2]} {columns} {GAP}"
    return picture


def _placed(tiles: Tensor, columns: int) -> Tensor:
    """Images (n, c, h, w) uint8 in rows on white, as torchvision's ``make_grid`` places them."""
    tiles = tiles.expand(-1, 3, -1, -1) if tiles.shape[1] == 1 else tiles
    if len(tiles) == 1:
        return tiles[0]
    columns = min(columns, len(tiles))
    channels, height, width = tiles.shape[1:]
    size = math.ceil(len(tiles) / columns) * (height + GAP) + GAP, columns * (width + GAP) + GAP
    grid = tiles.new_full((channels, *size), 255)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + GAP), number % columns * (width + GAP)
        grid[:, top + GAP : top + GAP + height, left + GAP : left + GAP + width] = tile
    return grid


def _in_columns(named: Mapping[str, Tensor]) -> Image.Image:
    """Columns with headings, folded into blocks side by side so that the whole is about square."""
    stacks = [enlarged(to_uint8(s.cpu())).expand(-1, 3, -1, -1) for s in named.values()]
    count, (height, width) = len(stacks[0]), stacks[0].shape[-2:]
    rows = math.ceil(count / max(1, round(math.sqrt(count / len(stacks)))))
    font = ImageFont.load_default(HEADING)
    lefts, block = [], 0
    for name in named:
        lefts.append(block + GAP)
        block += max(width, math.ceil(font.getlength(name)) + GAP) + GAP
    block, top = block + 4 * GAP, HEADING + 3 * GAP  # blocks stand apart
    size = math.ceil(count / rows) * block, top + rows * (height + GAP)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for name, left, stack in zip(named, lefts, stacks, strict=True):
        for start in range(0, size[0], block):
            draw.text((start + left, GAP), name, "black", font)
        for i, pixels in enumerate(stack.permute(0, 2, 3, 1).numpy()):
            corner = i // rows * block + left, top + i % rows * (height + GAP)
            picture.paste(Image.fromarray(pixels), corner)
    return picture


def _scatter(points: Tensor) -> Image.Image:
    from matplotlib.figure import Figure  # a run on images needs none

    figure = Figure(figsize=(5, 5), dpi=100)
    axes = figure.subplots()
    axes.scatter(*points.cpu().T, s=3, alpha=0.4, linewidths=0)
    axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal", xlabel="x", ylabel="y")
    figure.tight_layout()
    return drawn(figure)
