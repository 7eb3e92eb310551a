"""Pictures of a user's own, brought to the form that a trained run takes."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from saddlepoint.datamodules.archive import Folder, image_names, open_archive
from saddlepoint.datamodules.decode import Decoder
from saddlepoint.datamodules.pixels import to_float
from saddlepoint.errors import UserError


def read_pictures(path: str | Path, shape: Sequence[int]) -> Tensor:
    """Read a picture, or all of a folder or a zip in the order of their names.

    Of any size and mode; turned upright as its camera says, laid on white where it is transparent,
    cut to its largest central square and resized (Lanczos), made grey or coloured as the run is.

    Args:
        path: a file, a folder or a zip.
        shape: (C, H, W) of the run's images.

    Returns:
        (n, C, H, W) float32 in [-1, 1].

    Raises:
        UserError: nothing is there, what is there is no picture, or the run's images are no
            squares.
    """
    path = Path(path).expanduser()
    if len(shape) != 3 or shape[0] not in (1, 3) or shape[1] != shape[2]:
        raise UserError(
            f"Items of shape {tuple(shape)} are no square pictures, so {path} cannot be brought to"
            " their form: choose a run on square grey or RGB images."
        )
    if not path.exists():
        raise UserError(f"There is no picture {path}: give a file, a folder or a zip.")
    if path.is_dir() or path.suffix.lower() == ".zip":
        archive = open_archive(path)
        names = image_names(archive)
    else:
        archive, names = Folder(path.parent), [path.name]
    decoder = Decoder(resolution=shape[1], channels=shape[0])
    pixels = [decoder(archive.read(name), archive.describe(name)) for name in names]
    return to_float(torch.stack([torch.from_numpy(each.copy()) for each in pixels]))
