"""The exponential moving average of the networks that sampling uses."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from saddlepoint.losses.schedule import Schedule, at


class MovingAverage(nn.Module):
    """Keeps ``networks``, copies by name whose weights trail the originals'.

    After a batch of b images the weights move to the original's by 1 - 0.5^(b / h): h, the
    half-life, is in images, so that a change of batch size leaves the average as it was. Early on h
    is at most ``rampup`` times the images shown so far, so that the random start is forgotten
    (Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models", code of
    EDM). Buffers (batch norm's statistics) are copied.

    Args:
        networks: the networks to follow, by name.
        half_life_kimg: half-life in thousands of real images, or its schedule.
        rampup: share of the images shown that caps the half-life; 0 for no cap.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        half_life_kimg: float | Schedule,
        rampup: float = 0.05,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(
            {name: copy.deepcopy(n).eval().requires_grad_(False) for name, n in networks.items()}
        )
        self.half_life_kimg, self.rampup = half_life_kimg, rampup

    def decay(self, batch: int, images_shown: int, progress: float = 0.0) -> float:
        """Weight of the old average.

        Args:
            batch: images of this step.
            images_shown: in all by now.
            progress: share of the run that is done.
        """
        half_life = at(self.half_life_kimg, progress) * 1000
        if self.rampup:
            half_life = min(half_life, images_shown * self.rampup)
        return 0.5 ** (batch / max(half_life, 1e-8))

    def follow(self, originals: Mapping[str, nn.Module]) -> None:
        """Find what to move and where to, before the first `update`.

        Args:
            originals: the networks in training, by name, whose parameters stay the same objects.
        """
        pairs = [(average, originals[name]) for name, average in self.networks.items()]
        self._averages: list[Tensor] = [p for average, _ in pairs for p in average.parameters()]
        self._followed: list[Tensor] = [p for _, original in pairs for p in original.parameters()]
        # Of buffers the modules are kept: a network may put another tensor in a buffer's place.
        modules = [zip(a.modules(), o.modules(), strict=True) for a, o in pairs]
        self._with_buffers = [two for each in modules for two in each if two[0]._buffers]

    @torch.no_grad()
    def update(self, batch: int, images_shown: int, progress: float) -> None:
        """Move the averages after an iteration that showed ``batch`` real images, see `decay`."""
        weight = 1 - self.decay(batch, images_shown, progress)
        torch._foreach_lerp_(self._averages, self._followed, weight)
        for average, original in self._with_buffers:
            for mine, theirs in zip(average.buffers(False), original.buffers(False), strict=True):
                mine.copy_(theirs)

    def train(self, mode: bool = True) -> "MovingAverage":
        """Stay in eval mode: the average is only ever sampled."""
        return super().train(False)
