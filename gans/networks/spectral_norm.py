"""Spectral norm: weights divided by their largest singular value.

T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida. "Spectral Normalization for Generative Adversarial
Networks", ICLR 2018, arXiv 1802.05957, Algorithm 1.

The same function as `torch.nn.utils.parametrizations.spectral_norm`, except that it computes in the
precision of the weight under autocast too: singular vectors of bfloat16 would drift. Those of
many layers are computed together in `gans.networks.joint_spectral_norm`.
"""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

Layer = TypeVar("Layer", bound=nn.Module)

#: Power iterations that find the singular vectors of the initial weight.
INITIAL_ITERATIONS = 15


class SpectralNorm(nn.Module):
    """Parametrisation W -> W / sigma(W), with sigma(W) = u^T W v tracked by power iteration.

    Every evaluation in training mode makes one power iteration (a layer evaluates its weight once
    per forward pass); in eval mode u and v stay. They are constants of the gradient.

    Args:
        weight: initial weight, with its output dimension at ``output_dim``; the other dimensions
            together are the columns of W, in logical order whatever the memory format.
        output_dim: dimension of the rows of W.

    Attributes:
        ready: the normalised weight, for as long as `JointSpectralNorm.computed` holds it.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, output_dim: int = 0) -> None:
        super().__init__()
        self.output_dim = output_dim
        self.ready: Tensor | None = None
        matrix = self._as_matrix(weight.detach())
        rows, columns = matrix.shape
        self.register_buffer("u", F.normalize(matrix.new_empty(rows).normal_(), dim=0))
        self.register_buffer("v", F.normalize(matrix.new_empty(columns).normal_(), dim=0))
        # On the device "meta" networks are only counted, and every operation is slow.
        for _ in range(0 if weight.is_meta else INITIAL_ITERATIONS):
            self._iterate_power(matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """Divide ``weight`` by its spectral norm."""
        if self.ready is not None:
            return self.ready
        # A network that is only counted, on the device "meta", has no autocast.
        device = "cpu" if weight.is_meta else weight.device.type
        with torch.autocast(device, enabled=False):
            matrix = self._as_matrix(weight)
            if self.training:
                u, v = self._iterate_power(matrix)
            else:
                # Not the buffers, which a pass in training mode may overwrite before the backward.
                u, v = self.u.clone(), self.v.clone()
            return weight / torch.dot(u, torch.mv(matrix, v))

    @torch.no_grad()
    def _iterate_power(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        u = F.normalize(torch.mv(matrix, self.v), dim=0)
        v = F.normalize(torch.mv(matrix.T, u), dim=0)
        self.u.copy_(u)
        self.v.copy_(v)
        return u, v

    def _as_matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.output_dim, 0).flatten(1)


def add_spectral_norm(layer: Layer) -> Layer:
    """Give a convolution, linear or embedding layer spectral norm 1; returns the layer.

    Initialise the weight first: the singular vectors start from it.
    """
    output_dim = 1 if isinstance(layer, nn.modules.conv._ConvTransposeNd) else 0
    norm = SpectralNorm(layer.get_parameter("weight"), output_dim)
    parametrize.register_parametrization(layer, "weight", norm)
    return layer
