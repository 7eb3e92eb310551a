"""What there is to compute on."""

import os

import torch


def device_name(device: torch.device) -> str:
    """Name of the accelerator, such as ``NVIDIA H100``; ``cpu`` for the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def forget_absent_gpus() -> None:
    """Where there is no GPU, let torch not look for one again and again.

    Its optimisers ask in every step. Lightning has it answered by the driver's library, so that
    asking is safe before a fork; where that is missing, each time by a search of the disk for it.
    """
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
