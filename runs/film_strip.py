"""How training went, on one sheet: the same samples at a few moments, side by side."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from saddlepoint.runs.captions import LINE, MARGIN, SIZE, captioned

NAME = "strip.png"
MOMENTS = 8  # at most
SAMPLES = 4  # of each
TILES = "Tiles"  # what the file of a grid says of its layout: "width height columns gap"
HEIGHT = 260  # pixels of pictures that are no grids


def film_strip(paths: Sequence[Path]) -> Image.Image:
    """Put pictures of training side by side, the untrained generator's first.

    Of grids the first samples are shown, one in each row; other pictures as they are, smaller.
    Most happens early, so the moments are ever further apart.

    Args:
        paths: ``{iteration}.png`` in the order of iterations, two at least.
    """
    chosen = [paths[k] for k in _moments(len(paths))]
    pictures = [Image.open(path) for path in chosen]
    columns = [_samples(picture) for picture in pictures]
    if any(column is None for column in columns):
        columns = [_smaller(picture) for picture in pictures]
    font = ImageFont.load_default(SIZE)
    labels = [f"{int(path.stem):,}" for path in chosen]
    wide = [
        max(column.width, round(font.getlength(label)) + MARGIN)
        for column, label in zip(columns, labels, strict=True)
    ]
    height = max(column.height for column in columns)
    strip = Image.new("RGB", (sum(wide) + MARGIN * (len(wide) + 1), LINE + height), "white")
    draw, left = ImageDraw.Draw(strip), MARGIN
    for column, label, width in zip(columns, labels, wide, strict=True):
        draw.text((left + width / 2, 2), label, "black", font, anchor="ma")
        strip.paste(column, (left + (width - column.width) // 2, LINE))
        left += width + MARGIN
    last = pictures[-1].info.get("Title", "")
    run = last.split(", iteration")[0]
    return captioned(strip, f"{run}: samples by iteration" if run else "samples by iteration")


def _moments(count: int) -> list[int]:
    """Positions of the moments: the first, the last, and between them ever further apart."""
    if count <= MOMENTS:
        return list(range(count))
    steps = MOMENTS - 2
    later = [round((count - 1) ** (k / steps)) for k in range(steps + 1)]
    return sorted({0, *later})


def _samples(picture: Image.Image) -> Image.Image | None:
    """The first samples of a grid, one above the other; None if it is none."""
    try:
        width, height, columns, gap = map(int, picture.info[TILES].split())
    except (KeyError, ValueError, AttributeError):
        return None
    count = min(SAMPLES, columns)
    found = Image.new("RGB", (width, count * (height + gap) - gap), "white")
    for k in range(count):
        x = gap + k * (width + gap)
        found.paste(picture.crop((x, gap, x + width, gap + height)), (0, k * (height + gap)))
    return found


def _smaller(picture: Image.Image) -> Image.Image:
    size = max(1, round(picture.width * HEIGHT / picture.height)), HEIGHT
    smaller = picture.convert("RGB")
    return smaller.resize(size, Image.Resampling.LANCZOS) if picture.height > HEIGHT else smaller
