"""Any discriminator as terms want it: with features, and heads that read them.

A discriminator of Saddlepoint returns its features beside its logits. Of one from elsewhere they
are caught on the way: what goes into its output layer, and what comes out of a layer with a map.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import spectral_norm

from saddlepoint.errors import UserError

#: An output layer: maps pooled vectors (n, d) to logits.
Head = Callable[[Tensor], Tensor]


class Seen(NamedTuple):
    """What a discriminator makes of n images.

    Attributes:
        logits: (n, ...), float32, large for reals.
        local: feature map (n, c, h, w), float32; (n, 0) where no layer with one was named.
        pooled: vector (n, d), float32, that the output layer reads; (n, 0) where none was named.
    """

    logits: Tensor
    local: Tensor
    pooled: Tensor


class Watched(nn.Module):
    """A discriminator from anywhere, its features, and heads on them.

    Args:
        network: maps images (n, *shape), and conditions if it takes some, to logits (n, ...).
        output: its last layer, which maps pooled features (n, d) to the logits.
        local: a layer of it whose output is a feature map (n, c, h, w).
        example: a few images (n, *shape), of which the sizes of the features are read; needed by
            terms with heads.
        spectral_norm: whether heads have it.
    """

    def __init__(
        self,
        network: nn.Module,
        output: nn.Module | None = None,
        local: nn.Module | None = None,
        example: Tensor | None = None,
        *,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.spectral_norm = network, spectral_norm
        self._caught: dict[str, Tensor] = {}
        inside = list(network.modules())
        for name, layer in (("output", output), ("local", local)):
            if layer is not None and not any(layer is module for module in inside):
                raise UserError(f"The layer given as {name} is not one of the discriminator's.")
        if output is not None:
            output.register_forward_pre_hook(lambda _, given: self._catch("pooled", given[0]))
        if local is not None:
            local.register_forward_hook(lambda _, given, made: self._catch("local", made))
        # Held in a list: they are the network's modules, and registered there.
        self._output = [output]
        self._sizes = self._sizes_on(example) if example is not None else {}

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Seen:
        """Judge images (n, *shape), with conditions (n, ...) if there are some."""
        self._caught.clear()
        logits = self.network(images, *([] if condition is None else [condition]))
        if not isinstance(logits, Tensor):
            raise UserError(
                f"The discriminator returns {type(logits).__name__}, where its logits are wanted:"
                " give a module that returns these alone."
            )
        nothing = logits.new_zeros(len(images), 0)
        caught = (self._caught.pop(name, nothing).float() for name in ("local", "pooled"))
        return Seen(logits.float(), *caught)

    def logits(
        self, pooled: Tensor, condition: Tensor | None = None, head: Head | None = None
    ) -> Tensor:
        """Logits of pooled features (n, d) by the output layer, or by a head in its place."""
        return (self.head if head is None else head)(pooled)

    def logit(
        self, images: Tensor, condition: Tensor | None = None, head: Head | None = None
    ) -> Tensor:
        """Logits (n, 1) in a pass in float32; of a map of them the mean."""
        with torch.autocast(images.device.type, enabled=False):
            seen = self(images, condition)
            logits = seen.logits if head is None else head(seen.pooled)
        return logits.flatten(1).mean(1, keepdim=True) if logits.ndim > 1 else logits[:, None]

    @property
    def head(self) -> nn.Module:
        """The output layer.

        Raises:
            UserError: it was not named.
        """
        if self._output[0] is None:
            raise _unnamed("output", "its last layer")
        return self._output[0]

    @property
    def pooled_features(self) -> int:
        """Length of the pooled vector."""
        return self._size("pooled", "output", "its last layer")

    @property
    def local_channels(self) -> int:
        """Channels of the local map."""
        return self._size("local", "local", "a layer whose output is a feature map")

    def new_head(self, out_features: int) -> nn.Linear:
        """A linear layer on the pooled vector."""
        return self._finished(nn.Linear(self.pooled_features, out_features))

    def new_local_head(self, out_channels: int) -> nn.Conv2d:
        """A pointwise layer on the local map."""
        return self._finished(nn.Conv2d(self.local_channels, out_channels, 1))

    @property
    def mixes_samples(self) -> bool:
        """Whether batch norm makes an image's logit depend on the images beside it."""
        return any(isinstance(module, _BatchNorm) for module in self.network.modules())

    def _catch(self, name: str, features: Tensor) -> None:
        self._caught[name] = features.flatten(1) if name == "pooled" else features

    @torch.no_grad()
    def _sizes_on(self, example: Tensor) -> dict[str, int]:
        was_training = self.network.training
        try:
            self.network.eval()  # no running statistics of batch or spectral norm move
            seen = self(example)
        finally:
            self.network.train(was_training)
        return {
            name: feature.shape[1] for name, feature in seen._asdict().items() if feature.ndim > 1
        }

    def _size(self, feature: str, argument: str, what: str) -> int:
        if not self._sizes:
            raise UserError(
                "A term with a head needs to know how large the features are: give example=, a few"
                " images."
            )
        if not self._sizes[feature]:
            raise _unnamed(argument, what)
        return self._sizes[feature]

    def _finished(self, layer: Any) -> Any:
        return spectral_norm(layer) if self.spectral_norm else layer


def _unnamed(argument: str, what: str) -> UserError:
    return UserError(f"A term reads features of the discriminator: give {argument}=, {what}.")
