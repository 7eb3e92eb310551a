"""How training went, as a short animation of the pictures that it left."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from saddlepoint.atomic import whole_file

FRAMES = 40  # at most; of more pictures some are left out, evenly
COLOURS = 64  # of the palette that all frames share
SEEN = (96, 96)  # pixels of a frame that the palette is chosen by
STEP, END = 150, 2500  # milliseconds that a frame is shown, and the last one


def pictures_of_training(samples: Path) -> list[Path]:
    """At most `FRAMES` of the pictures that a run has written, in the order of iterations.

    Args:
        samples: the folder with ``{iteration}.png``.
    """
    paths = sorted(path for path in samples.glob("*.png") if path.stem.isdecimal())
    count = min(len(paths), FRAMES)
    return [paths[round(k * (len(paths) - 1) / max(count - 1, 1))] for k in range(count)]


def frames_of(paths: Sequence[Path]) -> list[Image.Image]:
    """The pictures in one palette, that of all of them, so that what stands still is cheap."""
    pictures = _of_one_size([Image.open(path).convert("RGB") for path in paths])
    width, height = SEEN
    strip = Image.new("RGB", (width * len(pictures), height))
    for k, picture in enumerate(pictures):
        strip.paste(picture.resize(SEEN, Image.Resampling.NEAREST), (k * width, 0))
    palette = strip.quantize(COLOURS)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]


def _of_one_size(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """With white below those that have a shorter caption."""
    size = max(p.width for p in pictures), max(p.height for p in pictures)
    padded = []
    for picture in pictures:
        padded.append(Image.new("RGB", size, "white"))
        padded[-1].paste(picture, (0, 0))
    return padded


def save_animation(frames: Sequence[Image.Image], path: Path) -> Path:
    """Write a GIF whole or not at all; it stays on the last frame for a while and starts again.

    Raises:
        UserError: it cannot be written.
    """
    with whole_file(path) as file:
        frames[0].save(
            file,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=[*[STEP] * (len(frames) - 1), END],
            loop=0,
        )
    return path
