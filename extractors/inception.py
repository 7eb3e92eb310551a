"""The Inception network of FID, as torch-fidelity defines it."""

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3

from saddlepoint.errors import UserError
from saddlepoint.extractors.extractor import Extracted, Extractor, as_rgb, full_precision
from saddlepoint.extractors.inception_weights import (
    FILE_SHA256,
    InceptionWeights,
    find_inception_weights,
    ways_to_get_inception_weights,
)

SIZE = 299
#: Images that pass through together on a CPU, but for one for each thread: what they leave behind
#: still fits caches and the allocator's own pages, and more gain nothing.
CHUNK = 8


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
    seconds_on_cpu = 0.1

    def __init__(self, weights: str | Path | None = None, download: bool = True) -> None:
        super().__init__()
        self.weights = weights
        self.download = download

    def score_name(self, name: str) -> str:
        """The name itself: FID, IS, KID."""
        return name

    def gives_logits(self) -> bool:
        """Whether the weights that are found have the classifier."""
        return self.find().has_classifier

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

    def forward(self, images: Tensor) -> Extracted:
        """Extracted (N, 2048) and logits (N, 1008) of images (N, 3 or 1, H, W) uint8.

        Logits are None where the weights come without the classifier.
        """
        on_cpu = images.device.type == "cpu"
        size = max(CHUNK, torch.get_num_threads()) if on_cpu else len(images)
        with full_precision(images.device):
            chunks = as_rgb(images).split(size)
            parts = [self.network(chunk) for chunk in chunks]
        return Extracted(*(torch.cat(part) for part in zip(*parts, strict=True)))


class _Network(FeatureExtractorInceptionV3):
    """torch-fidelity's network before it has weights; its own constructor wants a file of them."""

    def __init__(self, layers: list[str]) -> None:
        nothing = io.BytesIO()
        torch.save({}, nothing)
        nothing.seek(0)
        super().__init__(InceptionV3Compat.name, layers, feature_extractor_weights_path=nothing)

    def load_state_dict(self, state_dict: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return super().load_state_dict(state_dict, *args, **kwargs) if state_dict else None

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Extracted and, with a classifier, logits; torch-fidelity's but for a faster resize."""
        x = resize_like_tensorflow1(images.float()).sub_(128).div_(128)
        for stage in self.children():
            if stage is not self.fc:
                x = stage(x)
        features = x.flatten(1)
        return (features,) if self.fc is None else (features, features @ self.fc.weight.mT)


def resize_like_tensorflow1(images: Tensor, size: int = SIZE) -> Tensor:
    """Resize float images (N, C, H, W) to (N, C, size, size) by TensorFlow 1's bilinear rule.

    Exactly torch-fidelity's sums: of columns first, and then of rows. It takes columns anew for
    each row of the result, which are several times as many as an image usually has.
    """
    for dim in (3, 2):
        scale = torch.tensor(images.shape[dim] / size, dtype=torch.float32)
        place = torch.arange(size, dtype=torch.float32, device=images.device) * scale
        low = place.long()
        high = (low + 1).clamp_max(images.shape[dim] - 1)
        weight = (place - low).unflatten(0, (-1, *[1] * (3 - dim)))
        left = images.index_select(dim, low)
        images = images.index_select(dim, high).sub_(left).mul_(weight).add_(left)
    return images


def build_network(weights: InceptionWeights) -> FeatureExtractorInceptionV3:
    """torch-fidelity's network with these weights, in eval mode, without gradients.

    Batch norm, an affine map in eval mode, is folded into the convolutions. Draws no random
    numbers: nothing is initialised that the weights then replace.
    """
    layers = ["2048", "logits_unbiased"] if weights.has_classifier else ["2048"]
    with torch.device("meta"):
        network = _Network(layers)
    if not weights.has_classifier:
        network.fc = None
    units = {name: m for name, m in network.named_modules() if isinstance(m, BasicConv2d)}
    network.load_state_dict(weights.state(list(units)), assign=True)
    network.requires_grad_(False).eval()
    for unit in units.values():
        # In float64, so that each weight is rounded once.
        unit.conv = fuse_conv_bn_eval(unit.conv.double(), unit.bn.double()).float()
        unit.bn = nn.Identity()
    return network.requires_grad_(False)
