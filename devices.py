"""What there is to compute on."""

import torch


def device_name(device: torch.device) -> str:
    """Name of the accelerator, such as ``NVIDIA H100``; ``cpu`` for the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
