"""A classifier trained on the data at hand, as extractor: for data that Inception does not suit.

`train_extractor.py` writes one file for each: weights, architecture, what it was trained on and how
well it does on images that it has not seen. The file is read without running code in it.
"""

import pickle
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.atomic import whole_file
from saddlepoint.datamodules.pixels import to_float
from saddlepoint.errors import UserError
from saddlepoint.extractors.extractor import Extracted, Extractor, full_precision, hash_of_weights
from saddlepoint.extractors.small_resnet import Outputs, SmallResNet, StackedChannels

FORMAT = "saddlepoint classifier"
VERSION = 1
SUFFIX = ".pt"


def build_classifier(architecture: dict[str, Any]) -> nn.Module:
    """Build the network of a file; it gives `extractors.small_resnet.Outputs`.

    Args:
        architecture: arguments of `SmallResNet` as plain values, ``shape`` being that of the
            images, and ``stacked``: whether it looks at each channel by itself.
    """
    stacked, shape = architecture["stacked"], architecture["shape"]
    network = SmallResNet(
        (1, *shape[1:]) if stacked else tuple(shape),
        architecture["num_classes"],
        architecture["num_attributes"],
        architecture["width"],
    )
    return StackedChannels(network) if stacked else network


def write_classifier(path: Path, network: nn.Module, content: dict[str, Any]) -> None:
    """Write a trained network, whole or not at all.

    Args:
        path: the file.
        network: that of `build_classifier`.
        content: plain values: ``architecture``, ``data`` (name, digest, classes, attributes),
            ``accuracy`` by task and ``training``.

    Raises:
        UserError: the file cannot be written.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    header = {"format": FORMAT, "version": VERSION, "weights_hash": hash_of_weights(network)}
    with whole_file(path, hint=", or choose another output") as file:
        torch.save({**header, **content, "state": state}, file)


def read_classifier(path: str | Path) -> dict[str, Any]:
    """Read what `write_classifier` wrote, to the CPU.

    Raises:
        UserError: there is no such file, it is torn, or another program's.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(
            f"There is no classifier {path}: train one with python train_extractor.py"
            f" datamodule=... output={path}."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        content = None
    except Exception as error:  # torch's reader meets a torn file in many ways
        raise UserError(f"The classifier {path} is damaged: train it anew.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(
            f"{path} is not a classifier of Saddlepoint: give a file that train_extractor.py wrote."
        )
    if content["version"] != VERSION:
        raise UserError(
            f"The classifier {path} has format {content['version']} and this version of"
            f" Saddlepoint reads {VERSION}: train it anew."
        )
    return content


class TrainedClassifier(Extractor):
    """The classifier in a file that ``python train_extractor.py datamodule=...`` wrote.

    Its class probabilities are those of the data set's classes, if that has any; its features are
    what the last layer sees.

    Args:
        weights: the file.
    """

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        self.weights = weights

    @cached_property
    def content(self) -> dict[str, Any]:
        """Everything in the file, see `write_classifier`; read on first use.

        Raises:
            UserError: there is no such file, it is torn, or another program's.
        """
        return read_classifier(self.weights)

    @property
    def name(self) -> str:
        """``classifier-`` and the data it was trained on."""
        return f"classifier-{self.content['data']['name']}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that it tells."""
        return tuple(self.content["data"]["classes"])

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes that it tells."""
        return tuple(self.content["data"]["attributes"])

    def gives_logits(self) -> bool:
        """Whether the data it was trained on have classes."""
        return bool(self.content["architecture"]["num_classes"])

    def check(self) -> None:
        """Read the file.

        Raises:
            UserError: there is no such file, it is torn, or another program's.
        """
        _ = self.content

    def load(self, device: torch.device | str = "cpu") -> None:
        """Build the network, once, and move it to ``device``; draws no random numbers.

        Raises:
            UserError: there is no such file, it is torn, or another program's.
        """
        if not hasattr(self, "network"):
            with torch.device("meta"):
                network = build_classifier(self.content["architecture"])
            network.load_state_dict(self.content["state"], assign=True)
            self.weights_hash = hash_of_weights(network)
            if self.weights_hash != self.content["weights_hash"]:
                raise UserError(f"The classifier {self.weights} is damaged: train it anew.")
            self.network = network.requires_grad_(False).eval()
            self.has_logits = self.gives_logits()
        super().load(device)

    def forward(self, images: Tensor) -> Extracted:
        """Extracted (N, d) and logits of classes, if there are any, of images (N, C, H, W) uint8.

        Raises:
            UserError: images of another shape than those it was trained on.
        """
        seen = self.outputs(images)
        return Extracted(seen.features, seen.classes)

    def outputs(self, images: Tensor) -> Outputs:
        """All that it tells of images (N, C, H, W) uint8.

        Raises:
            UserError: images of another shape than those it was trained on.
        """
        shape = tuple(self.content["architecture"]["shape"])
        if tuple(images.shape[1:]) != shape:
            raise UserError(
                f"{self.name} takes images of shape {shape} and got {tuple(images.shape[1:])}:"
                " train one on these data with python train_extractor.py."
            )
        with full_precision(images.device):
            return self.network(to_float(images))
