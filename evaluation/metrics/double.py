"""float64, in which scores are computed."""

import torch
from torch import Tensor


def device_with_double(device: torch.device) -> torch.device:
    """The device itself, or the CPU for devices without float64."""
    return torch.device("cpu") if device.type == "mps" else device


def as_double(tensor: Tensor) -> Tensor:
    """A float64 copy on `device_with_double`."""
    return tensor.to(device_with_double(tensor.device)).double()
