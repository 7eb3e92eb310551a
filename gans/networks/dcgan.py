"""The convolutional networks of DCGAN, and an encoder like them.

A. Radford, L. Metz, S. Chintala. "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", ICLR 2016, arXiv 1511.06434.

By their arguments they are also those of Dist-GAN and MS-GAN (N.-T. Tran et al., arXiv 1803.08887
and 1911.06997) for CIFAR-10, CelebA, MNIST and stacked MNIST. Where those have a sigmoid and images
in [0, 1] there is tanh and [-1, 1] here: 2 s(x) - 1 = tanh(x / 2), the same but for the scale of x.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.gans.networks.arguments import check_resolution
from saddlepoint.gans.networks.conditional_batch_norm import ConditionalBatchNorm2d
from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.discriminator import Discriminator, LocalMap
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.gans.networks.layers import BatchNorm2d, Pooling, convolution, finish, linear, pool
from saddlepoint.gans.networks.upsampling import UpConvolution, Upsampling
from saddlepoint.schema import NotNegative, Size, checked

RESOLUTIONS = (16, 28, 32, 48, 64, 128)
#: Channels of the layer next to the image; they double with every halving of the size.
NARROWEST = 64
#: How weights are filled.
WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": partial(nn.init.normal_, std=0.02),
    "xavier": nn.init.xavier_uniform_,
}

KernelSize = Literal[4, 5]
Initialisation = Literal["normal", "xavier"]


class DCGANGenerator(Generator):
    """Transposed convolutions from 1 x 1 to 4 x 4 and on to the resolution; BN, ReLU; tanh.

    At 28 px the 8 x 8 map is made one of 7 x 7 on the way.

    Args:
        shape: (c, h, h) of the images, h one of 16, 28, 32, 48, 64, 128.
        condition: what the batch norms depend on; None for nothing.
        latent_dim: d of the latents (n, d).
        width: channels of the first map, halved with every doubling of the size; None for 64 next
            to the image.
        upsampling: "transposed", "nearest", "bilinear" or "zero_insertion".
        last_upsampling: that of the last layer; None for the same.
        depth: how often the size doubles; None for as often as leads from 4 x 4 (at 48 px, from
            6 x 6) to the resolution.
        kernel_size: of the transposed convolutions, 4 or 5; other ones have 3 or 5.
        first_norm: whether the first batch norm is one for all positions of a channel ("channel"),
            or the first layer is a linear one with a norm for every "unit" (Dist-GAN).
        tail: whether the layer that doubles the size for the last time makes the image
            ("upsampling"), or a convolution after it ("convolution").
        fit: whether an 8 x 8 map is made one of 7 x 7 by "crop" or by a "linear" layer.
        initialisation: "normal" for N(0, 0.02), or "xavier" for Xavier-uniform weights.

    Raises:
        UserError: a resolution, depth or kind of upsampling that does not exist.
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
        depth: Size | None = None,
        kernel_size: KernelSize = 4,
        first_norm: Literal["channel", "unit"] = "channel",
        tail: Literal["upsampling", "convolution"] = "upsampling",
        fit: Literal["crop", "linear"] = "crop",
        initialisation: Initialisation = "normal",
    ) -> None:
        super().__init__()
        self.shape, self.latent_dim = tuple(shape), latent_dim
        self.sizes = _sizes(shape, depth)
        channels = _channels(len(self.sizes) - 1, width)
        if tail == "convolution":
            channels.append(max(channels[-1] // 2, 1))
        bottom = self.sizes[0]
        self.bottom_shape = (channels[0], bottom, bottom)
        if first_norm == "channel":
            self.project = nn.ConvTranspose2d(latent_dim, channels[0], bottom)
            normed = channels
        else:
            normed = [channels[0] * bottom**2, *channels[1:]]
            self.project = nn.ConvTranspose2d(latent_dim, normed[0], 1)
        self.norms = nn.ModuleList(ConditionalBatchNorm2d(c, condition) for c in normed)
        odd_size = 3 if kernel_size == 4 else 5
        layer = partial(UpConvolution, kernel_size=odd_size, transposed_size=kernel_size)
        kinds = [upsampling] * (len(self.sizes) - 2) + [last_upsampling or upsampling]
        ups = [
            layer(a, b, upsampling=kind)
            for a, b, kind in zip(channels, [*channels[1:], shape[0]], kinds, strict=False)
        ]
        if tail == "upsampling":
            self.convs = nn.ModuleList(ups[:-1])
            self.to_image: nn.Module = ups[-1]
        else:
            self.convs = nn.ModuleList(ups)
            self.to_image = convolution(channels[-1], shape[0], odd_size)
        self.fit = None
        if fit == "linear" and 7 in self.sizes:
            c = channels[self.sizes.index(7)]
            self.fit = linear(c * 8**2, c * 7**2)
        self.apply(partial(_initialise, initialisation))

    def forward(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """Draw images (n, c, h, h), float32 in [-1, 1], from latents (n, d) and conditions."""
        hidden = F.relu(self.norms[0](self.project(latents[:, :, None, None]), condition))
        hidden = hidden.reshape(-1, *self.bottom_shape)
        for conv, norm, size in zip(self.convs, self.norms[1:], self.sizes[1:], strict=False):
            hidden = F.relu(norm(conv(hidden), condition))
            if hidden.shape[-1] > size:
                hidden = self._fitted(hidden, size)
        return torch.tanh(self.to_image(hidden).float())

    def _fitted(self, hidden: Tensor, size: int) -> Tensor:
        if self.fit is None:
            return hidden[..., :size, :size]
        return F.relu(self.fit(hidden.flatten(1))).unflatten(1, (-1, size, size))


class DCGANDiscriminator(Discriminator):
    """Convolutions of stride 2 down to 4 x 4, linear; BN on all but the first, leaky ReLU.

    The pooled vector is by default the whole last map, so that the output layer is the paper's last
    convolution.

    Args:
        shape: (c, h, h) of the images, h one of 16, 28, 32, 48, 64, 128.
        condition: of the projection; None for none.
        width: channels of the last map, halved with every doubling of the size; None for 64 next to
            the image.
        batch_norm: whether there is batch norm; penalties on the gradient of a sample ask for none.
        spectral_norm: whether every layer has spectral norm.
        pooling: "flatten", "sum" or "mean".
        depth: convolutions of stride 2; None for as many as lead to 4 x 4 (at 48 px, to 6 x 6).
        kernel_size: of the convolutions, 4 or 5.
        slope: of the leaky ReLU.
        local_map: the map before the last convolution ("before_last"), or the "last", the features
            phi of Dist-GAN.
        initialisation: "normal" for N(0, 0.02), or "xavier" for Xavier-uniform weights.

    Raises:
        UserError: a resolution, depth or pooling that does not exist.
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
        depth: Size | None = None,
        kernel_size: KernelSize = 4,
        slope: NotNegative = 0.2,
        local_map: LocalMap = "before_last",
        initialisation: Initialisation = "normal",
    ) -> None:
        sizes = _sizes(shape, depth, kernel_size)
        channels = [shape[0], *_channels(len(sizes) - 1, width)[::-1]]
        local_channels = channels[-1 if local_map == "last" else -2]
        super().__init__(
            condition=condition,
            local_channels=local_channels,
            pooled_features=channels[-1] * (sizes[0] ** 2 if pooling == "flatten" else 1),
            spectral_norm=spectral_norm,
            initialise=WEIGHTS[initialisation],
        )
        self.pooling, self.slope, self.local_map = pooling, slope, local_map
        self.convs = nn.ModuleList(
            _halving(a, b, kernel_size, initialisation, spectral_norm)
            for a, b in zip(channels, channels[1:], strict=False)
        )
        self.norms = _norms(channels[1:], batch_norm)
        self.norms.apply(partial(_initialise, initialisation))

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Local map (n, c, h', h') and pooled vector (n, d)."""
        before_last = hidden = images
        for conv, norm in zip(self.convs, self.norms, strict=True):
            before_last, hidden = hidden, F.leaky_relu(norm(conv(hidden)), self.slope)
        local = hidden if self.local_map == "last" else before_last
        return local, pool(hidden, self.pooling)


class DCGANEncoder(nn.Module):
    """The discriminator with codes for logits, as in Dist-GAN.

    Args:
        shape: (c, h, h) of the images, h one of 16, 28, 32, 48, 64, 128.
        latent_dim: d of the codes (n, d).
        width: channels of the last map, halved with every doubling of the size; None for 64 next to
            the image.
        batch_norm: whether there is batch norm, on all but the first layer.
        depth: convolutions of stride 2; None for as many as lead to 4 x 4 (at 48 px, to 6 x 6).
        kernel_size: of the convolutions, 4 or 5.
        slope: of the leaky ReLU; 0 for a plain one.
        initialisation: "normal" for N(0, 0.02), or "xavier" for Xavier-uniform weights.

    Raises:
        UserError: a resolution or depth that does not exist.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        latent_dim: Size = 100,
        width: int | None = None,
        batch_norm: bool = True,
        depth: Size | None = None,
        kernel_size: KernelSize = 4,
        slope: NotNegative = 0.2,
        initialisation: Initialisation = "normal",
    ) -> None:
        super().__init__()
        sizes = _sizes(shape, depth, kernel_size)
        channels = [shape[0], *_channels(len(sizes) - 1, width)[::-1]]
        self.slope = slope
        self.convs = nn.ModuleList(
            _halving(a, b, kernel_size, initialisation)
            for a, b in zip(channels, channels[1:], strict=False)
        )
        self.norms = _norms(channels[1:], batch_norm)
        self.norms.apply(partial(_initialise, initialisation))
        to_code = nn.Linear(channels[-1] * sizes[0] ** 2, latent_dim)
        self.to_code = finish(to_code, initialise=WEIGHTS[initialisation])

    def forward(self, images: Tensor) -> Tensor:
        """Codes (n, d) of images (n, c, h, h)."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            images = F.leaky_relu(norm(conv(images)), self.slope)
        return self.to_code(images.flatten(1))


def _halving(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    initialisation: str,
    spectral_norm: bool = False,
) -> nn.Module:
    """Convolution of stride 2, to half the size, rounded up if the kernel is odd."""
    padding = (kernel_size - 1) // 2
    layer = nn.Conv2d(in_channels, out_channels, kernel_size, stride=2, padding=padding)
    return finish(layer, spectral_norm=spectral_norm, initialise=WEIGHTS[initialisation])


def _norms(channels: Sequence[int], batch_norm: bool) -> nn.ModuleList:
    """Batch norm after every layer but the first."""
    return nn.ModuleList(
        BatchNorm2d(c) if batch_norm and i else nn.Identity() for i, c in enumerate(channels)
    )


def _sizes(shape: Sequence[int], depth: int | None, kernel_size: int | None = None) -> list[int]:
    """Sizes of maps from the smallest one to the image, each half of the next, rounded up.

    Args:
        shape: (c, h, h) of the images.
        depth: how many smaller maps there are; None for as many as lead to 4 x 4, or 6 x 6.
        kernel_size: of the convolutions that halve, if some do.

    Raises:
        UserError: there are no such maps.
    """
    resolution = check_resolution("dcgan", shape, RESOLUTIONS)
    depth = depth or (resolution // 7).bit_length()
    deepest = (resolution - 1).bit_length() - 1
    if depth > deepest:
        raise UserError(
            f"A network of depth={depth} halves {resolution} px to less than 2 x 2: choose a depth"
            f" of at most {deepest}."
        )
    sizes = [resolution]
    for _ in range(depth):
        sizes.append((sizes[-1] + 1) // 2)
    if kernel_size == 4 and any(size % 2 for size in sizes[:-1]):
        raise UserError(
            f"Convolutions with kernel_size=4 halve even sizes only, and {resolution} px lead to"
            " odd ones: set kernel_size=5."
        )
    return sizes[::-1]


def _channels(depth: int, width: int | None) -> list[int]:
    """Channels of the smallest map, of the one twice its size, and so on up to half the image's."""
    if width is None:
        width = NARROWEST * 2 ** (depth - 1)
    return [max(width // 2**i, 1) for i in range(depth)]


def _initialise(initialisation: str, module: nn.Module) -> None:
    """Fill weights; biases 0; gains of batch norm, beside normal weights, from N(1, 0.02)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        WEIGHTS[initialisation](module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d) and module.affine and initialisation == "normal":
        nn.init.normal_(module.weight, mean=1.0, std=0.02)
