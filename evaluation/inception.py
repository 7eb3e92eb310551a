"""The Inception network of FID, as torch-fidelity defines it."""

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3

from errors import UserError
from evaluation.extractors import Extractor, Features, as_rgb, full_precision
from evaluation.inception_weights import (
    FILE_SHA256,
    InceptionWeights,
    find_inception_weights,
    ways_to_get_inception_weights,
)


class InceptionV3Compat(Extractor):
    """The TensorFlow Inception of 2015-12-05, in which all published FIDs are measured.

    torch-fidelity's ``inception-v3-compat``: images as uint8, resized to 299 x 299 by the bilinear
    rule of TensorFlow 1; features are those of the last pooling layer, logits those without bias.

    Args:
        weights: file to use; None looks for one, see `find_inception_weights`.
        download: whether they may be downloaded where none are found.
    """

    name = "inception-v3-compat"
    resize = "bilinear 299 x 299, TensorFlow 1"

    def __init__(self, weights: str | Path | None = None, download: bool = True) -> None:
        super().__init__()
        self.weights = weights
        self.download = download

    @property
    def frechet_name(self) -> str:
        """FID."""
        return "FID"

    def check(self) -> None:
        """Find the weights without loading them; downloads them where that is allowed.

        Raises:
            UserError: there are none; lists the ways to get them.
        """
        self.find()

    def find(self) -> InceptionWeights:
        """Find the weights without loading them; downloads them where that is allowed.

        Raises:
            UserError: there are none; lists the ways to get them.
        """
        found = find_inception_weights(self.weights, self.download)
        if found is None:
            raise UserError(
                "FID needs the weights of the 2015 Inception network and none were found:"
                f" {ways_to_get_inception_weights()}."
            )
        return found

    def load(self, device: torch.device | str = "cpu") -> None:
        """Find and load the weights, once, and move them to ``device``.

        Raises:
            UserError: there are none; lists the ways to get them.
        """
        if not hasattr(self, "network"):
            found = self.find()
            self.network = build_network(found)
            # Both files hold the same network, so it has one hash.
            self.weights_hash = FILE_SHA256
            self.has_logits = found.has_classifier
        super().load(device)
        if torch.device(device).type == "cpu":  # 1.5 times as fast there; in float32, only there
            self.network.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Features:
        """Features (N, 2048) and logits (N, 1008) of images (N, 3 or 1, H, W) uint8.

        Logits are None where the weights come without the classifier.
        """
        with full_precision(images.device):
            return Features(*self.network(as_rgb(images)))


class _Network(FeatureExtractorInceptionV3):
    """torch-fidelity's network before it has weights; its own constructor wants a file of them."""

    def __init__(self, layers: list[str]) -> None:
        nothing = io.BytesIO()
        torch.save({}, nothing)
        nothing.seek(0)
        super().__init__(InceptionV3Compat.name, layers, feature_extractor_weights_path=nothing)

    def load_state_dict(self, state_dict: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return super().load_state_dict(state_dict, *args, **kwargs) if state_dict else None


def build_network(weights: InceptionWeights) -> FeatureExtractorInceptionV3:
    """torch-fidelity's network with these weights, in eval mode, without gradients.

    Draws no random numbers: nothing is initialised that the weights then replace.
    """
    layers = ["2048", "logits_unbiased"] if weights.has_classifier else ["2048"]
    with torch.device("meta"):
        network = _Network(layers)
    if not weights.has_classifier:
        network.fc = None
    units = [name for name, module in network.named_modules() if isinstance(module, BasicConv2d)]
    network.load_state_dict(weights.state(units), assign=True)
    return network.requires_grad_(False).eval()
