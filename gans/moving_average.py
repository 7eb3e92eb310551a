"""The exponential moving average of a generator's weights."""

import copy

import torch
from torch import nn


class MovingAverage(nn.Module):
    """Keeps ``average``, a copy of a generator whose weights trail the original's.

    After a batch of b images the weights move to the original's by 1 - 0.5^(b / h): h, the
    half-life, is in images, so that a change of batch size leaves the average as it was. Early on h
    is at most ``rampup`` times the images shown so far, so that the random start is forgotten
    (Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models", code of
    EDM). Buffers (batch norm's statistics) are copied.

    Args:
        generator: the network to follow.
        half_life_kimg: half-life in thousands of real images.
        rampup: share of the images shown that caps the half-life; 0 for no cap.
    """

    def __init__(self, generator: nn.Module, half_life_kimg: float, rampup: float = 0.05) -> None:
        super().__init__()
        self.average = copy.deepcopy(generator).eval().requires_grad_(False)
        self.half_life_kimg, self.rampup = half_life_kimg, rampup

    def decay(self, batch: int, images_shown: int) -> float:
        """Weight of the old average after ``batch`` images, ``images_shown`` in all by now."""
        half_life = self.half_life_kimg * 1000
        if self.rampup:
            half_life = min(half_life, images_shown * self.rampup)
        return 0.5 ** (batch / max(half_life, 1e-8))

    @torch.no_grad()
    def update(self, generator: nn.Module, batch: int, images_shown: int) -> None:
        """Move the average after an iteration that showed ``batch`` real images."""
        weight = 1 - self.decay(batch, images_shown)
        averages, originals = list(self.average.parameters()), list(generator.parameters())
        torch._foreach_lerp_(averages, originals, weight)
        for average, original in zip(self.average.buffers(), generator.buffers(), strict=True):
            average.copy_(original)

    def train(self, mode: bool = True) -> "MovingAverage":
        """Stay in eval mode: the average is only ever sampled."""
        return super().train(False)
