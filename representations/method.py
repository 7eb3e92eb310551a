"""What a method that learns a representation without labels has to say."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from saddlepoint.extractors.small_resnet import SmallResNet
from saddlepoint.randomness import keyed_generator
from saddlepoint.representations.augmentation import Augmentation
from saddlepoint.representations.sobel import Sobel
from saddlepoint.schema import Size, checked, settings_of

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
MakeNetwork = Callable[[], nn.Module]
#: Features of all training images (N, p), in their order, of the encoder as it is.
Features = Callable[[], Tensor]


class RepresentationMethod(nn.Module, ABC):
    """Base class: an encoder, views of the images, and a loss on them.

    What it trains is made by `build`, under the stage's seed, once the data are known.

    Args:
        optimizer: makes the optimiser of everything it trains.
        augmentation: makes the views.
        schedule: of the learning rate: "constant", or "cosine" to 0 at the end.
        width: of `SmallResNet`, which has 8 times as many features.
        sobel: whether the encoder sees edges only, see `Sobel`.
        network: makes another encoder, from images (n, C, H, W) in [-1, 1] to features (n, p).
    """

    #: Names it in records and pictures.
    name: ClassVar[str]
    #: Augmented views of each image.
    views: ClassVar[int] = 1
    #: Whether `loss` also gets each image as it is, as its first view.
    sees_originals: ClassVar[bool] = False
    #: Default augmentation and optimiser of the paper.
    default_augmentation: ClassVar[Callable[[], Augmentation]] = Augmentation
    default_optimizer: ClassVar[MakeOptimizer]

    @checked
    def __init__(
        self,
        *,
        optimizer: MakeOptimizer | None = None,
        augmentation: Augmentation | None = None,
        schedule: Literal["constant", "cosine"] = "constant",
        width: Size = 16,
        sobel: bool = False,
        network: MakeNetwork | None = None,
    ) -> None:
        super().__init__()
        self.optimizer = optimizer or type(self).default_optimizer
        self.augmentation = augmentation or type(self).default_augmentation()
        self.schedule, self.width, self.sobel, self.network = schedule, width, sobel, network

    def build(self, shape: Sequence[int]) -> None:
        """Make the encoder and what is trained with it, for images (C, H, W).

        Initial weights are drawn from torch's global generator.
        """
        channels = 2 if self.sobel else shape[0]
        if self.network is None:
            encoder = SmallResNet((channels, *shape[1:]), 0, 0, self.width).trunk
        else:
            encoder = self.network()
        self.encoder = nn.Sequential(Sobel(), encoder) if self.sobel else encoder
        with torch.no_grad():
            self.encoder.eval()
            self.features = self.encoder(torch.zeros(2, *shape)).flatten(1).shape[1]
        self.build_heads()

    @abstractmethod
    def build_heads(self) -> None:
        """Make what is trained on features (n, ``self.features``) and thrown away, or kept."""

    def begin_epoch(self, epoch: int, seed: int, features: Features) -> list[nn.Parameter]:
        """Do what comes before an epoch; returns parameters that start anew."""
        return []

    def order(self, epoch: int, seed: int, count: int) -> Tensor:
        """Training images in the order of an epoch, (m,) of 0 .. count - 1."""
        return torch.randperm(count, generator=keyed_generator(seed, "order", epoch))

    @abstractmethod
    def loss(self, views: Sequence[Tensor], items: Tensor) -> dict[str, Tensor]:
        """Losses by name, whose sum is minimised.

        Args:
            views: of the same n images, (n, C, H, W) in [-1, 1] each.
            items: (n,) which images they are.
        """

    def encode(self, images: Tensor) -> Tensor:
        """Features (n, p), float32, of images (n, C, H, W) in [-1, 1]."""
        return self.encoder(images).flatten(1).float()

    def partition(self, features: Tensor) -> Tensor | None:
        """Clusters (n,) that the method itself tells; None if it tells none."""
        return None

    def definition(self) -> dict[str, Any]:
        """Everything that its result depends on, as plain values."""
        return described(self)


def described(value: Any) -> Any:
    """An object as plain values: its class, and the settings it keeps under their own names."""
    if isinstance(value, functools.partial):
        words = {name: described(each) for name, each in value.keywords.items()}
        return {"of": _named(value.func), **words}
    if isinstance(value, type) or (callable(value) and not isinstance(value, nn.Module)):
        return _named(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [described(each) for each in value]
    settings = settings_of(type(value))
    return {
        "of": _named(type(value)),
        **{name: described(getattr(value, name)) for name in settings},
    }


def _named(what: Any) -> str:
    return f"{what.__module__}.{what.__qualname__}"
