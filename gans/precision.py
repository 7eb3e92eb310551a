"""Where bfloat16 is the fast choice."""

import functools
from contextlib import AbstractContextManager, nullcontext

import torch


@functools.cache
def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` multiplies bfloat16 matrices in hardware.

    GPUs do, CPUs with AMX, and those with AVX512-BF16, where it is twice as fast as float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))
    return False


def runs_in_bfloat16(precision: str | int, device: torch.device) -> bool:
    """Whether networks run in bfloat16: "bf16", "32", or "auto", where ``device`` is fast at it."""
    return has_fast_bfloat16(device) if precision == "auto" else precision == "bf16"


def cast_to_bfloat16(device: torch.device, enabled: bool) -> AbstractContextManager:
    """Autocast to bfloat16, or to nothing.

    A context that would change nothing is left out: entering one takes as long as an operation.
    """
    if enabled or torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
    return nullcontext()
