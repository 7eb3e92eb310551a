"""The convolutional networks of DCGAN.

A. Radford, L. Metz, S. Chintala. "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", ICLR 2016, arXiv 1511.06434.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.gans.networks.arguments import check_resolution
from saddlepoint.gans.networks.conditional_batch_norm import ConditionalBatchNorm2d
from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.layers import Pooling, finish, pool
from saddlepoint.gans.networks.upsampling import UpConvolution, Upsampling
from saddlepoint.schema import Size, checked

RESOLUTIONS = (16, 32, 64, 128)
#: Channels of the layer next to the image; they double with every halving of the size.
NARROWEST = 64


class DCGANGenerator(nn.Module):
    """Transposed convolutions from 1 x 1 to 4 x 4 and on to the resolution; BN, ReLU; tanh.

    Args:
        shape: (c, h, h) of the images, h one of 16, 32, 64, 128.
        condition: what the batch norms depend on; None for nothing.
        latent_dim: d of the latents (n, d).
        width: channels at 4 x 4, halved with every doubling of the size; None for 8 h.
        upsampling: "transposed", "nearest", "bilinear" or "zero_insertion".
        last_upsampling: that of the last layer; None for the same.

    Raises:
        UserError: a resolution or kind of upsampling that does not exist.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition | None = None,
        latent_dim: Size = 100,
        width: int | None = None,
        upsampling: Upsampling = "transposed",
        last_upsampling: Upsampling | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.latent_dim = tuple(shape), latent_dim
        last_upsampling = last_upsampling or upsampling
        channels = _channels(check_resolution("dcgan", shape, RESOLUTIONS), width)
        self.project = nn.ConvTranspose2d(latent_dim, channels[0], 4)
        self.norms = nn.ModuleList(ConditionalBatchNorm2d(c, condition) for c in channels)
        self.convs = nn.ModuleList(
            UpConvolution(channels[i], channels[i + 1], 3, upsampling=upsampling)
            for i in range(len(channels) - 1)
        )
        self.to_image = UpConvolution(channels[-1], shape[0], 3, upsampling=last_upsampling)
        self.apply(_initialise)

    def forward(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """Draw images (n, c, h, h), float32 in [-1, 1], from latents (n, d) and conditions."""
        hidden = self.project(latents[:, :, None, None])
        for norm, conv in zip(self.norms, [*self.convs, self.to_image], strict=True):
            hidden = conv(F.relu(norm(hidden, condition)))
        return torch.tanh(hidden.float())


class DCGANDiscriminator(Discriminator):
    """Convolutions of stride 2 down to 4 x 4, linear; BN on all but the first, leaky ReLU.

    The local map is the 8 x 8 one; the pooled vector is by default the whole 4 x 4 one, so that
    the output layer is the paper's last convolution.

    Args:
        shape: (c, h, h) of the images, h one of 16, 32, 64, 128.
        condition: of the projection; None for none.
        width: channels at 4 x 4, halved with every doubling of the size; None for 8 h.
        batch_norm: whether there is batch norm; penalties on the gradient of a sample ask for none.
        spectral_norm: whether every layer has spectral norm.
        pooling: "flatten", "sum" or "mean".

    Raises:
        UserError: a resolution or pooling that does not exist.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition | None = None,
        width: int | None = None,
        batch_norm: bool = True,
        spectral_norm: bool = False,
        pooling: Pooling = "flatten",
    ) -> None:
        channels = _channels(check_resolution("dcgan", shape, RESOLUTIONS), width)[::-1]
        normal = partial(nn.init.normal_, std=0.02)
        super().__init__(
            condition=condition,
            local_channels=channels[-2],
            pooled_features=channels[-1] * (16 if pooling == "flatten" else 1),
            spectral_norm=spectral_norm,
            initialise=normal,
        )
        self.pooling = pooling
        self.convs = nn.ModuleList(
            finish(
                nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1),
                spectral_norm=spectral_norm,
                initialise=normal,
            )
            for in_channels, out_channels in zip([shape[0], *channels], channels, strict=False)
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(c) if batch_norm and i else nn.Identity() for i, c in enumerate(channels)
        )
        self.norms.apply(_initialise)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Local map (n, c, 8, 8) and pooled vector (n, d)."""
        local = hidden = images
        for conv, norm in zip(self.convs, self.norms, strict=True):
            local, hidden = hidden, F.leaky_relu(norm(conv(hidden)), 0.2)
        return local, pool(hidden, self.pooling)


def _channels(resolution: int, width: int | None) -> tuple[int, ...]:
    """Channels at 4 x 4, 8 x 8, and so on up to half the resolution."""
    if width is None:
        width = NARROWEST * resolution // 8
    return tuple(max(width // 2**i, 1) for i in range((resolution // 8).bit_length()))


def _initialise(module: nn.Module) -> None:
    """Weights from N(0, 0.02), gains of batch norm from N(1, 0.02), biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, mean=1.0, std=0.02)
