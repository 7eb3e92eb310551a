"""What an image filled in at a hole is measured by. Masks (n, 1, h, w) are 1 in the hole."""

import torch
import torch.nn.functional as F
from torch import Tensor

from saddlepoint.ranks import mean_of_all_ranks


def l1(drawn: Tensor, images: Tensor, where: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of weight |y - x| over the pixels and channels where a mask is 1; 0 if it is nowhere.

    The mean is over the images of all ranks together. Elsewhere neither values nor gradients count.

    Args:
        drawn: y (n, c, h, w).
        images: x, the same.
        where: (n, 1, h, w) of 0 and 1.
        weight: the same shape, of any values.
    """
    inside = where > 0.5
    error = (torch.where(inside, drawn, images) - images).abs()
    if weight is not None:
        error = error * weight
    return error.sum() / mean_of_all_ranks(drawn.shape[1] * inside.sum().float()).clamp(min=1)


def spatial_discount(mask: Tensor, discount: float) -> Tensor:
    """discount^d, d the distance of a pixel in the hole to the hole's border, (n, 1, h, w).

    J. Yu et al., "Generative Image Inpainting with Contextual Attention", CVPR 2018, arXiv
    1801.07892, with 0.9. Pixels at the border have d = 0; d counts steps to any neighbour, diagonal
    ones too, and the border of the image is none of a hole.
    """
    distance = torch.zeros_like(mask)
    for _ in range((max(mask.shape[2:]) + 1) // 2):
        mask = eroded(mask, 1)
        distance = distance + mask
    return discount**distance


def seam_variation(images: Tensor, mask: Tensor) -> Tensor:
    """Mean |difference| of neighbours on the band of two pixels to either side of a hole's border.

    The mean is over the images of all ranks together.

    Args:
        images: (n, c, h, w), filled in.
        mask: of the hole.
    """
    band = F.max_pool2d(mask, 5, 1, 2) - eroded(mask, 2) > 0.5
    total, count = images.new_zeros(()), mask.new_zeros((), dtype=torch.int64)
    for axis in (2, 3):
        pairs = images.diff(dim=axis).abs()
        last = images.shape[axis] - 1
        both = band.narrow(axis, 0, last) & band.narrow(axis, 1, last)
        total = total + torch.where(both, pairs, 0).sum()
        count = count + images.shape[1] * both.sum()
    return total / mean_of_all_ranks(count.float()).clamp(min=1)


def eroded(mask: Tensor, pixels: int) -> Tensor:
    """Holes without the pixels next to their border."""
    return 1 - F.max_pool2d(1 - mask, 2 * pixels + 1, 1, pixels)
