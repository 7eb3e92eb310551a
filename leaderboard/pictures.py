"""Sample grids of runs, small enough to travel inside a page."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image

LARGEST = 720  # pixels a side
MOST_PIXELS = 50_000_000


def newest_picture(folder: Path) -> Path | None:
    """``samples/final.png`` of a run, else the picture of its last iteration so far."""
    pictures = [p for p in (folder / "samples").glob("*.png") if not p.name.startswith(".")]
    final = [picture for picture in pictures if picture.name == "final.png"]
    numbered = [picture for picture in pictures if picture.stem.isdecimal()]
    by_iteration = sorted(numbered, key=lambda picture: (len(picture.name), picture.name))
    return (final or by_iteration[-1:] or [None])[0]


class Embedded(NamedTuple):
    """A picture inside a page: its data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


def embedded(path: Path) -> Embedded | None:
    """A picture as WebP in a data URI; None if it cannot be read, as when just being written."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            image = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, format="WEBP", quality=90)
    uri = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    return Embedded(uri, *image.size)
