"""Masks beside images: one file for each image, under its name."""

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from saddlepoint.datamodules.archive import image_names, open_archive
from saddlepoint.datamodules.decode import Decoder
from saddlepoint.datamodules.fields import Mask
from saddlepoint.errors import UserError


def read_masks(path: Path, names: list[str], decoder: Decoder, dilate: int = 0) -> Mask:
    """Read the mask of each image; whatever is not black is 1.

    Args:
        path: folder or zip with a file for each image, of its name but for the suffix.
        names: of the images, as they lie below theirs.
        decoder: of the images: masks are cut like them, and resized to the nearest pixel.
        dilate: pixels, of what is served, by which masks grow in all eight directions.

    Raises:
        UserError: there is no mask for an image, or its form differs from the first one's.
    """
    archive = open_archive(path)
    files = {_stem(name): name for name in image_names(archive)}
    decoder = replace(decoder, channels=1, filter="nearest")
    masks: list[Tensor] = []
    for name in names:
        if _stem(name) not in files:
            raise UserError(f"{path} has no mask for {name}: give one of its name, but any suffix")
        file = files[_stem(name)]
        pixels = decoder(archive.read(file), archive.describe(file))
        masks.append(torch.from_numpy(pixels > 0).to(torch.uint8))
        if masks[-1].shape != masks[0].shape:
            raise UserError(
                f"the mask {archive.describe(file)} has another size than the first: set"
                " datamodule.resolution to crop and resize all alike"
            )
    return Mask(dilated(torch.stack(masks), dilate))


def dilated(masks: Tensor, pixels: int) -> Tensor:
    """Masks (N, 1, H, W) grown by so many pixels in all eight directions."""
    if not pixels:
        return masks
    return F.max_pool2d(masks.half(), 2 * pixels + 1, stride=1, padding=pixels).to(masks.dtype)


def _stem(name: str) -> str:
    return name.rpartition(".")[0]
