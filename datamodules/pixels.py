"""Pixels as stored (uint8) and as the networks see them (float in [-1, 1])."""

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """Map uint8 pixels to float32 in [-1, 1]: x / 127.5 - 1."""
    return images.to(torch.float32).div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """Map [-1, 1] to uint8, the inverse of `to_float`: round(255 * clamp((x + 1) / 2, 0, 1))."""
    return images.float().add(1).div_(2).clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def flip_where(images: Tensor, flips: Tensor) -> Tensor:
    """Mirror left and right those images (N, C, H, W) whose entry in ``flips`` (N,) is not 0."""
    return torch.where(flips.bool().view(-1, 1, 1, 1), images.flip(-1), images)
