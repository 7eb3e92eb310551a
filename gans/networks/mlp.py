"""Multi-layer perceptrons for points, after the 2-D toys of Dist-GAN.

N.-T. Tran, T.-A. Bui, N.-M. Cheung. "Dist-GAN: An Improved GAN using Distance Constraints", ECCV
2018, arXiv 1803.08887. They run in float32 always: bfloat16 would round the points.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.gans.networks.layers import linear, without_autocast
from saddlepoint.schema import Natural, Positive, Size, checked


class FourierFeatures(nn.Module):
    """Points (n, d) as cosines and sines of B x, with B (k, d) normal and fixed.

    M. Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in Low
    Dimensional Domains", NeurIPS 2020. A perceptron on coordinates learns what changes within a
    hundredth of their range (a mode, the gap between two) in thousands of updates, on these in a
    hundred.

    Args:
        dimensions: d.
        frequencies: k; 0 leaves the points as they are.
        frequency: standard deviation of B, in radians per unit.
    """

    matrix: Tensor | None

    def __init__(self, dimensions: int, frequencies: int, frequency: float) -> None:
        super().__init__()
        self.size = 2 * frequencies or dimensions
        matrix = frequency * torch.randn(frequencies, dimensions) if frequencies else None
        self.register_buffer("matrix", matrix)

    def forward(self, points: Tensor) -> Tensor:
        """(n, 2 k), or the points (n, d) themselves without frequencies."""
        if self.matrix is None:
            return points
        phases = points @ self.matrix.T
        return torch.cat([phases.cos(), phases.sin()], dim=1)


class MLPGenerator(Generator):
    """Hidden ReLU layers and a linear output.

    Args:
        shape: of the samples, (2,) for points in the plane; any shape will do.
        condition: enters as a vector beside the latents; None for none.
        latent_dim: d of the latents (n, d).
        width: units of a hidden layer.
        depth: hidden layers, at least 1.
        frequencies: of `FourierFeatures` of the latents; 0 for none.
        frequency: their standard deviation.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition | None = None,
        latent_dim: Size = 2,
        width: Size = 128,
        depth: Size = 3,
        frequencies: Natural = 0,
        frequency: Positive = 1.0,
    ) -> None:
        super().__init__()
        self.shape, self.latent_dim = tuple(shape), latent_dim
        self.encode = None if condition is None else condition.encoder()
        self.seen = FourierFeatures(latent_dim, frequencies, frequency)
        inputs = self.seen.size + (0 if condition is None else condition.features)
        self.hidden = _hidden_layers(inputs, width, depth)
        self.output = linear(width, math.prod(shape))

    def forward(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """Draw samples (n, *shape), float32, from latents (n, d) and conditions."""
        with without_autocast(latents):
            inputs = [self.seen(latents)]
            if self.encode is not None:
                if condition is None:
                    raise ValueError("a conditional generator needs conditions (n, ...)")
                inputs.append(self.encode(condition).to(latents.dtype))
            hidden = self.hidden(torch.cat(inputs, dim=1))
            return self.output(hidden).unflatten(1, self.shape)


class MLPEncoder(nn.Module):
    """Hidden ReLU layers and a linear output, the way back from samples to latents.

    Args:
        shape: of the samples, (2,) for points in the plane; any shape will do.
        latent_dim: d of the codes (n, d).
        width: units of a hidden layer.
        depth: hidden layers, at least 1.
        frequencies: of `FourierFeatures` of the samples; 0 for none.
        frequency: their standard deviation.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        latent_dim: Size = 2,
        width: Size = 128,
        depth: Size = 3,
        frequencies: Natural = 0,
        frequency: Positive = 1.0,
    ) -> None:
        super().__init__()
        self.seen = FourierFeatures(math.prod(shape), frequencies, frequency)
        self.hidden = _hidden_layers(self.seen.size, width, depth)
        self.to_code = linear(width, latent_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Codes (n, d), float32, of samples (n, *shape)."""
        with without_autocast(images):
            return self.to_code(self.hidden(self.seen(images.float().flatten(1))))


class MLPDiscriminator(Discriminator):
    """Hidden ReLU layers and a linear output.

    The pooled vector is the last hidden layer; the local map, of one position, the one before.

    Args:
        shape: of the samples, (2,) for points in the plane; any shape will do.
        condition: of the projection; None for none.
        width: units of a hidden layer.
        depth: hidden layers, at least 2.
        spectral_norm: whether every layer has it.
        frequencies: of `FourierFeatures` of the samples; 0 for none.
        frequency: their standard deviation.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition | None = None,
        width: Size = 128,
        depth: Size = 3,
        spectral_norm: bool = False,
        frequencies: Natural = 0,
        frequency: Positive = 1.0,
    ) -> None:
        super().__init__(
            condition=condition,
            local_channels=width,
            pooled_features=width,
            spectral_norm=spectral_norm,
        )
        self.seen = FourierFeatures(math.prod(shape), frequencies, frequency)
        self.hidden = _hidden_layers(self.seen.size, width, depth - 1, spectral_norm=spectral_norm)
        self.last_hidden = _hidden_layers(width, width, 1, spectral_norm=spectral_norm)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Local map (n, width, 1, 1) and pooled vector (n, width) of samples (n, *shape)."""
        with without_autocast(images):
            local = self.hidden(self.seen(images.float().flatten(1)))
            return local[:, :, None, None], self.last_hidden(local)


def _hidden_layers(
    inputs: int, width: int, depth: int, *, spectral_norm: bool = False
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for in_features in [inputs, *[width] * (depth - 1)]:
        layers += [linear(in_features, width, spectral_norm=spectral_norm), nn.ReLU()]
    return nn.Sequential(*layers)
