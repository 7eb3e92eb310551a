"""Embedded pictures: many small images of one size as one lossless sheet, beside what is known."""

import contextlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from saddlepoint.errors import UserError


def write_sheet(images: Tensor, per_row: int) -> np.ndarray:
    """Encode images (N, 3, R, R) uint8, ``per_row`` in each row, as bytes of a lossless WebP."""
    rows = images.unflatten(0, (-1, per_row)).permute(0, 3, 1, 4, 2)
    sheet = Image.fromarray(rows.flatten(0, 1).flatten(1, 2).numpy())
    encoded = io.BytesIO()
    sheet.save(encoded, format="WEBP", lossless=True, quality=100, method=6)
    return np.frombuffer(encoded.getvalue(), np.uint8)


def read_sheet(encoded: np.ndarray, side: int) -> Tensor:
    """Decode what `write_sheet` wrote of images of ``side`` pixels: (N, 3, side, side) uint8."""
    sheet = np.array(Image.open(io.BytesIO(encoded.tobytes())).convert("RGB"))
    tiles = torch.from_numpy(sheet).unflatten(0, (-1, side)).unflatten(2, (-1, side))
    return tiles.permute(0, 2, 4, 1, 3).flatten(0, 1).contiguous()


@contextlib.contextmanager
def embedded(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """Arrays of a file that comes with the package, by name; each is read when it is asked for.

    Raises:
        UserError: the file is missing or damaged, as far as what happens here depends on it.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            yield archive
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"The embedded faces ({path}) are missing or damaged: install Saddlepoint again."
        ) from error
