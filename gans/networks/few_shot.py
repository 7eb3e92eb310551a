"""The few-shot translator: the content of one image, drawn like the class of a few others.

M.-Y. Liu, X. Huang, A. Mallya, T. Karras, T. Aila, J. Lehtinen, J. Kautz. "Few-Shot Unsupervised
Image-to-Image Translation", ICCV 2019, arXiv 1905.01723.

Convolutions are padded by reflection. Weights are He-normal (fan-in), biases begin at 0.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.schema import Size, checked

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def reflected(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, bias: bool = True
) -> nn.Conv2d:
    """Convolution padded by reflection; keeps the size (odd kernel), or halves it (stride 2)."""
    padding = (kernel_size - 1) // 2
    layer = nn.Conv2d(
        *(in_channels, out_channels, kernel_size, stride, padding),
        bias=bias,
        padding_mode="reflect" if padding else "zeros",
    )
    return he_normal(layer)


def he_normal(layer: Layer) -> Layer:
    """Initialise a layer: weights from N(0, 2 / fan-in), biases 0."""
    nn.init.kaiming_normal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class AdaIN(nn.Module):
    """scale * (h - mean) / sqrt(variance + 1e-5) + bias, with statistics of each map alone.

    X. Huang, S. Belongie, "Arbitrary Style Transfer in Real-time with Adaptive Instance
    Normalization", ICCV 2017, arXiv 1703.06868. Train and eval mode are alike.

    Args:
        channels: c of the maps (n, c, h, w).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.count = 2 * channels  # numbers that it takes for each image

    def forward(self, maps: Tensor, numbers: Tensor) -> Tensor:
        """Normalise maps (n, c, h, w); numbers (n, 2 c) are the biases, then the scales."""
        bias, scale = numbers[:, :, None, None].chunk(2, dim=1)
        return F.instance_norm(maps) * scale + bias


class ResidualBlock(nn.Module):
    """x + (conv3x3, IN, ReLU, conv3x3, IN)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(reflected(channels, channels, 3), nn.InstanceNorm2d(channels), nn.ReLU()),
            *(reflected(channels, channels, 3), nn.InstanceNorm2d(channels)),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same."""
        return maps + self.layers(maps)


class AdaptiveBlock(nn.Module):
    """x + (conv3x3, AdaIN, ReLU, conv3x3, AdaIN)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = reflected(channels, channels, 3), AdaIN(channels)
        self.conv2, self.norm2 = reflected(channels, channels, 3), AdaIN(channels)
        self.count = self.norm1.count + self.norm2.count

    def forward(self, maps: Tensor, numbers: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same; numbers (n, 4 c) are those of both norms."""
        first, second = numbers.split([self.norm1.count, self.norm2.count], dim=1)
        hidden = F.relu(self.norm1(self.conv1(maps), first))
        return maps + self.norm2(self.conv2(hidden), second)


class ContentEncoder(nn.Sequential):
    """Images to content codes, maps (n, width 2^downs, h / 2^downs, w / 2^downs).

    Conv7x7, ``downs`` convolutions 4x4 of stride 2 that double the channels, residual blocks; each
    convolution with instance norm and ReLU.

    Args:
        channels: of the images.
        width: channels of the first layer.
        downs: convolutions of stride 2.
        blocks: residual blocks.
    """

    def __init__(self, channels: int, width: int, downs: int, blocks: int) -> None:
        widths = [width * 2**i for i in range(downs + 1)]
        convolutions = [
            reflected(channels, width, 7),
            *(reflected(a, b, 4, stride=2) for a, b in zip(widths, widths[1:], strict=False)),
        ]
        super().__init__(
            *(
                layer
                for conv in convolutions
                for layer in (conv, nn.InstanceNorm2d(conv.out_channels), nn.ReLU())
            ),
            *(ResidualBlock(widths[-1]) for _ in range(blocks)),
        )


class ClassEncoder(nn.Sequential):
    """Images to class codes (n, code); no norm, which would take away the colours.

    Conv7x7, ``downs`` convolutions 4x4 of stride 2 (the first two double the channels), each with
    ReLU; mean over positions; conv1x1.

    Args:
        channels: of the images.
        width: channels of the first layer.
        downs: convolutions of stride 2.
        code: length of the code.
    """

    def __init__(self, channels: int, width: int, downs: int, code: int) -> None:
        widths = [width * 2 ** min(i, 2) for i in range(downs + 1)]
        convolutions = [
            reflected(channels, width, 7),
            *(reflected(a, b, 4, stride=2) for a, b in zip(widths, widths[1:], strict=False)),
        ]
        super().__init__(
            *(layer for conv in convolutions for layer in (conv, nn.ReLU())),
            nn.AdaptiveAvgPool2d(1),
            reflected(widths[-1], code, 1),
            nn.Flatten(),
        )


class AdaptiveDecoder(nn.Module):
    """Content codes and the numbers of all AdaIN layers to images in [-1, 1].

    Residual blocks with AdaIN, then ``ups`` times (x2 by nearest neighbours, conv5x5 that halves
    the channels, IN, ReLU), conv7x7, tanh.

    Args:
        channels: of the images.
        width: channels of the last maps.
        ups: doublings of the size.
        blocks: residual blocks.
    """

    def __init__(self, channels: int, width: int, ups: int, blocks: int) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(ups, -1, -1)]
        adaptive = [AdaptiveBlock(widths[0]) for _ in range(blocks)]
        self.blocks = nn.ModuleList(adaptive)
        self.up = nn.Sequential(
            *(
                layer
                for a, b in zip(widths, widths[1:], strict=False)
                for layer in (
                    nn.Upsample(scale_factor=2),
                    reflected(a, b, 5),
                    nn.InstanceNorm2d(b),
                    nn.ReLU(),
                )
            ),
            reflected(width, channels, 7),
            nn.Tanh(),
        )
        self.counts = [block.count for block in adaptive]
        self.count = sum(self.counts)

    def forward(self, content: Tensor, numbers: Tensor) -> Tensor:
        """Draw content codes (n, c, h, w) as numbers (n, count) say."""
        for block, own in zip(self.blocks, numbers.split(self.counts, dim=1), strict=True):
            content = block(content, own)
        return self.up(content)


class FewShotTranslator(Generator):
    """G(x, {y_1 .. y_K}) = decoder(content(x), MLP(mean of class(y_k))).

    It is the class codes that are averaged, not what the MLP makes of them.

    Args:
        shape: (c, h, w) of the images.
        width: channels of the first and last layers.
        downs: convolutions of stride 2 for the content code, and doublings of the decoder.
        class_downs: convolutions of stride 2 for the class code.
        blocks: residual blocks of the content encoder, and of the decoder.
        code: length of the class code.
        mlp_width: units of the MLP's two hidden layers.

    Raises:
        UserError: the images cannot be halved that often.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        width: Size = 64,
        downs: Size = 3,
        class_downs: Size = 4,
        blocks: Size = 2,
        code: Size = 64,
        mlp_width: Size = 256,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        _refuse_sizes(self.shape, downs, class_downs)
        channels = self.shape[0]
        self.content_encoder = ContentEncoder(channels, width, downs, blocks)
        self.class_encoder = ClassEncoder(channels, width, class_downs, code)
        self.decoder = AdaptiveDecoder(channels, width, downs, blocks)
        self.mlp = nn.Sequential(
            *(he_normal(nn.Linear(code, mlp_width)), nn.ReLU()),
            *(he_normal(nn.Linear(mlp_width, mlp_width)), nn.ReLU()),
            he_normal(nn.Linear(mlp_width, self.decoder.count)),
        )

    def forward(self, images: Tensor, shots: Tensor) -> Tensor:
        """Translate images (n, c, h, w) to the classes that shots (n, K, c, h, w) show."""
        return self.translations(images, shots)[0]

    def translations(self, images: Tensor, *shots: Tensor) -> list[Tensor]:
        """Translate images to several classes each, with one pass of the content encoder."""
        content = self.content_encoder(images)
        return [self.decode(content, self.class_code(each)) for each in shots]

    def class_code(self, shots: Tensor) -> Tensor:
        """The mean code (n, code) of the examples (n, K, c, h, w) of a class."""
        return self.class_encoder(shots.flatten(0, 1)).unflatten(0, shots.shape[:2]).mean(1)

    def decode(self, content: Tensor, class_code: Tensor) -> Tensor:
        """Images in [-1, 1] of content codes (n, c', h', w') and class codes (n, code)."""
        return self.decoder(content, self.mlp(class_code))


def _refuse_sizes(shape: Sequence[int], downs: int, class_downs: int) -> None:
    if len(shape) != 3:
        raise UserError("network=funit translates images: choose a datamodule that has some.")
    factor, smallest = 2**downs, 2 ** (class_downs + 1)
    if any(side % factor or side < max(4 * factor, smallest) for side in shape[1:]):
        raise UserError(
            f"network=funit works on images whose sides are multiples of {factor} and at least"
            f" {max(4 * factor, smallest)}, and these have {shape[1]} x {shape[2]}: choose another"
            " resolution, or fewer network.generator.downs and class_downs."
        )
