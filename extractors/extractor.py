"""What turns images into features. A score is named after its extractor."""

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saddlepoint.datamodules.pixels import to_uint8
from saddlepoint.errors import UserError

#: Told what is going on: a description, how much is done, and how much there is to do.
Progress = Callable[[str, int, int], None]


class Extracted(NamedTuple):
    """What an extractor sees in images.

    Attributes:
        features: (N, d) float.
        logits: (N, k) float, unnormalised log-probabilities of classes; None without a classifier.
    """

    features: Tensor
    logits: Tensor | None = None


class Extractor(nn.Module, ABC):
    """A network with a name, a hash of its weights, and features as output.

    Weights are loaded by `load`, not on construction.

    Attributes:
        name: stands in the name of its scores.
        resize: how images reach the network's size.
        quantisation: what float images become before they enter.
        weights_hash: identifies the weights, once they are loaded; "" if there are none.
        has_logits: whether class probabilities are available, once the weights are loaded.
        classes: names of the classes that it tells, where they are those of some data.
        attributes: names of the attributes that it tells; then it has ``outputs(images)``, see
            `extractors.trained_classifier.TrainedClassifier`.
        seconds_on_cpu: for an image, where that is too long for anyone who has not asked for it.
    """

    name: str
    resize: str = "none"
    quantisation: str = "round(255 * clamp((x + 1) / 2, 0, 1))"
    weights_hash: str = ""
    has_logits: bool = False
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    seconds_on_cpu: float | None = None

    def score_name(self, name: str) -> str:
        """Name of a score on its features: ``name`` alone is kept for the 2015 Inception.

        FID and KID lose the letter that stands for Inception.
        """
        return f"{name.replace('FID', 'FD').replace('KID', 'KD')}/{self.name}"

    def gives_logits(self) -> bool:
        """Whether class probabilities will be available; known after `check`, before `load`."""
        return self.has_logits

    def suit(self, data: Any, progress: Progress | None = None) -> None:  # noqa: B027 - few need it
        """Become fit for these data, before `load`: one that is trained on them is trained here.

        Args:
            data: a data module, see `datamodules.base.DataModule`.
            progress: told how far that has come.
        """

    def refuse(self, data: Any) -> None:  # noqa: B027 - few know so little
        """Refuse data that its features say nothing of, in a moment.

        Args:
            data: a data module, see `datamodules.base.DataModule`.

        Raises:
            UserError: they are such; names others.
        """

    def check(self) -> None:
        """Find out whether the weights are there, in less time than loading them takes.

        Raises:
            UserError: they are not there, or not the right ones; says how to get them.
        """

    def load(self, device: torch.device | str = "cpu") -> None:
        """Find, verify and load the weights, once, and move them to ``device``.

        Raises:
            UserError: they are not there, or not the right ones; says how to get them.
        """
        self.to(device)

    def quantise(self, images: Tensor) -> Tensor:
        """Map float images in [-1, 1] to the uint8 that `forward` takes; uint8 stays as it is."""
        return images if images.dtype == torch.uint8 else to_uint8(images)

    @abstractmethod
    def forward(self, images: Tensor) -> Extracted:
        """Extracted of images (N, C, H, W) uint8; each depends on its own image alone.

        Raises:
            UserError: images that the network does not take.
        """


def as_rgb(images: Tensor) -> Tensor:
    """Repeat the channel of grey images (N, 1, H, W); images (N, 3, H, W) stay as they are.

    Raises:
        UserError: another number of channels.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UserError(
            f"This extractor takes grey or RGB images and got items of shape"
            f" {tuple(images.shape[1:])}: choose another metric."
        )
    return images.expand(-1, 3, -1, -1)


def hash_of_weights(network: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of a network's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """float32 throughout, whatever training runs in: no autocast, and no TF32."""
    parts = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [part.fp32_precision for part in parts]
    for part in parts:
        part.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for part, precision in zip(parts, before, strict=True):
            part.fp32_precision = precision
