"""What every discriminator has: an output with features, and heads like its own."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.layers import Float32Linear, finish, without_autocast
from saddlepoint.gans.networks.spectral_norm import Layer

#: Which map `Features.local` is: the input of the last layer or block, or its output.
LocalMap = Literal["before_last", "last"]
#: An output layer: maps pooled vectors, or maps of them, to logits.
Head = Callable[[Tensor], Tensor]


class Features(NamedTuple):
    """What a discriminator makes of n images.

    Attributes:
        logits: (n, 1), float32, large for reals; a map of patches has (n, 1, h, w).
        local: feature map (n, c, h, w) in the precision of the forward pass.
        pooled: vector (n, d), float32, that the output layer reads.
    """

    logits: Tensor
    local: Tensor
    pooled: Tensor


class Discriminator(nn.Module, ABC):
    """Base class: logits = head(pooled), plus the projection <embed(y), pooled> if conditional.

    The projection is that of T. Miyato and M. Koyama, "cGANs with Projection Discriminator", ICLR
    2018. A subclass defines `features`. Terms attach to those features: they make their heads with
    `new_head` and `new_local_head`, which look like the discriminator's own output layer.

    Args:
        condition: of the projection, None for none.
        local_channels: c of the local map (n, c, h, w).
        pooled_features: d of the pooled vector (n, d).
        spectral_norm: whether output layer, class embedding and heads have it.
        initialise: fills their weights in place.
    """

    def __init__(
        self,
        *,
        condition: Condition | None,
        local_channels: int,
        pooled_features: int,
        spectral_norm: bool,
        initialise: Callable[[Tensor], Tensor] = nn.init.xavier_uniform_,
    ) -> None:
        super().__init__()
        self.local_channels = local_channels
        self.pooled_features = pooled_features
        self._spectral_norm, self._initialise = spectral_norm, initialise
        self.head = self.new_head(1)
        self.embed = None
        if condition is not None:
            self.embed = self.finished(condition.layer(pooled_features, bias=False))

    @abstractmethod
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Local map (n, c, h, w) and pooled vector (n, d), float32, of images (n, *shape)."""

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Features:
        """Judge images (n, *shape) in [-1, 1]; conditions (n, ...) are needed if it has some."""
        local, pooled = self.features(images)
        return Features(self.logits(pooled, condition), local, pooled)

    def logits(
        self, pooled: Tensor, condition: Tensor | None = None, head: Head | None = None
    ) -> Tensor:
        """Logits (n, 1), float32, of pooled vectors (n, d).

        Args:
            pooled: what `features` returned.
            condition: (n, ...), needed if it has some; every head adds the same projection.
            head: from ``new_head(1)``; the discriminator's own by default.
        """
        logits = (self.head if head is None else head)(pooled)
        if self.embed is None:
            return logits
        if condition is None:
            raise ValueError("a projection discriminator needs conditions (n, ...)")
        with without_autocast(pooled):
            return logits + (self.embed(condition) * pooled.float()).sum(1, keepdim=True)

    def new_head(self, out_features: int) -> nn.Linear | nn.Conv2d:
        """Output layer for the pooled vector, (n, d) to float32 (n, out_features)."""
        return self.finished(Float32Linear(self.pooled_features, out_features))

    def new_local_head(self, out_channels: int) -> nn.Conv2d:
        """Pointwise output layer for the local map, (n, c, h, w) to (n, out_channels, h, w)."""
        return self.finished(nn.Conv2d(self.local_channels, out_channels, 1))

    def finished(self, layer: Layer) -> Layer:
        """Initialise an output layer, or an embedding, and give it spectral norm as all have."""
        return finish(layer, spectral_norm=self._spectral_norm, initialise=self._initialise)

    @property
    def is_conditional(self) -> bool:
        """Whether its logits depend on a condition."""
        return self.embed is not None

    @property
    def mixes_samples(self) -> bool:
        """Whether batch norm makes an image's logit depend on the images beside it.

        Reals and fakes must not share a call then.
        """
        return any(isinstance(module, _BatchNorm) for module in self.modules())
