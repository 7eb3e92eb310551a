"""Contexts that would change nothing are not entered; those that would are."""

import os

import pytest
import torch

from saddlepoint.devices import forget_absent_gpus
from saddlepoint.gans.networks.layers import without_autocast
from saddlepoint.gans.precision import cast_to_bfloat16

CPU = torch.device("cpu")
IMAGES = torch.randn(4, 4)


def product():
    return (IMAGES @ IMAGES).dtype


@pytest.mark.parametrize("outside", [False, True])
def test_precision_is_what_the_innermost_context_says(outside):
    with torch.autocast("cpu", torch.bfloat16, enabled=outside):
        with cast_to_bfloat16(CPU, enabled=True):
            assert product() == torch.bfloat16
            with without_autocast(IMAGES):
                assert product() == torch.float32
            assert product() == torch.bfloat16
        for plain in (cast_to_bfloat16(CPU, enabled=False), without_autocast(IMAGES)):
            with plain:
                assert product() == torch.float32
        assert product() == (torch.bfloat16 if outside else torch.float32)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to look for")
def test_absent_gpus_are_not_looked_for_on_the_disk(monkeypatch):
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # as importing Lightning leaves it
    forget_absent_gpus()
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "0"

    def searched():
        raise AssertionError("the driver's library was looked for")

    monkeypatch.setattr(torch.cuda, "_raw_device_count_nvml", searched)
    parameter = torch.nn.Parameter(torch.ones(1))
    parameter.grad = torch.ones(1)
    torch.optim.Adam([parameter], fused=True).step()
    assert not torch.accelerator.is_available()
