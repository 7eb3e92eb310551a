"""Batch norm over the batches of all processes.

Torch's own, `torch.nn.SyncBatchNorm`, wants CUDA and cannot be differentiated twice.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saddlepoint.ranks import of_all_ranks, rank_and_count


class SyncBatchNorm(_BatchNorm):
    """Batch norm whose statistics in training are those of the whole batch, on all ranks.

    With B = W n items on W ranks, and mean m_r and variance v_r of rank r,

        m = E m_r,  v = E v_r + E (m_r - m)^2

    are the mean and the (biased) variance of all. Each rank has the same number of items.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features (n, c, ...)."""
        ranks = rank_and_count()[1]
        if not self.training or ranks == 1:
            return super().forward(features)
        values = features.to(torch.promote_types(features.dtype, torch.float32))
        others = [0, *range(2, values.ndim)]
        both = torch.stack(torch.var_mean(values, others, correction=0))
        variances, means = of_all_ranks(both[None]).unbind(1)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        self._follow(mean, variance, ranks * values.numel() // values.shape[1])
        shape = (-1, *[1] * (values.ndim - 2))
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        normalised = (values - mean.view(shape)) * scale.view(shape)
        if self.bias is not None:
            normalised = normalised + self.bias.view(shape)
        return normalised.to(features.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running averages, where they are tracked."""
        batches, means, variances = self.num_batches_tracked, self.running_mean, self.running_var
        if not self.track_running_stats or batches is None or means is None or variances is None:
            return
        batches += 1
        momentum = 1 / batches if self.momentum is None else self.momentum
        means.lerp_(mean, momentum)
        variances.lerp_(variance * (count / max(count - 1, 1)), momentum)

    def _check_input_dim(self, features: Tensor) -> None:
        """Any number of dimensions."""


def synchronise(network: nn.Module) -> None:
    """Let every batch norm in a network be one over all ranks; weights and statistics stay."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = SyncBatchNorm
