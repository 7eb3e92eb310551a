"""Networks that torch-fidelity knows by name besides Inception: VGG-16, CLIP, DINOv2.

Its own code computes the features, so they are its features to the last bit. Weights are found,
verified and loaded here: without asking the network when they are there already, without running
code in them (CLIP's come as TorchScript), and without touching the global random numbers.
"""

import contextlib
import hashlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch_fidelity import feature_extractor_clip as clip
from torch_fidelity import feature_extractor_dinov2 as dinov2
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from saddlepoint.errors import UserError
from saddlepoint.extractors.extractor import (
    Extracted,
    Extractor,
    as_rgb,
    full_precision,
    hash_of_weights,
)

log = logging.getLogger(__name__)

#: Where torch.hub keeps DINOv2's code, which torch-fidelity takes from GitHub.
DINOV2_CODE = "facebookresearch_dinov2_main"
DINOV2_REPOSITORY = "facebookresearch/dinov2:main"
DINOV2_URL = "https://dl.fbaipublicfiles.com/dinov2/{0}/{0}_pretrain.pth"


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that a network's name stands for.

    Attributes:
        url: where they are published.
        file_name: under which torch-fidelity keeps them in torch's hub cache.
        sha256: of the file, or its first digits; "" where its publisher names none.
        build: makes torch-fidelity's extractor from (name, layer, file).
    """

    url: str
    file_name: str
    sha256: str
    build: Callable[[str, str, Path], FeatureExtractorBase]


class FidelityExtractor(Extractor):
    """A feature extractor of torch-fidelity, by its name there.

    It gives no class probabilities: torch-fidelity takes plain features for them.

    Args:
        name: one of `names`.
        layer: of the network; None takes the one that torch-fidelity computes FID with.
        weights: file to use; None takes torch's hub cache.
        download: whether they may be downloaded to the cache where they are not there.
    """

    def __init__(
        self,
        name: str,
        layer: str | None = None,
        weights: str | Path | None = None,
        download: bool = True,
    ) -> None:
        super().__init__()
        if name not in names():
            raise UserError(f"torch-fidelity has no '{name}': choose of {', '.join(names())}.")
        kind = FEATURE_EXTRACTORS_REGISTRY[name]
        usual, layers = (
            kind.get_default_feature_layer_for_metric("fid"),
            kind.get_provided_features_list(),
        )
        self.layer = layer or usual
        if self.layer not in layers:
            raise UserError(f"{name} has no layer '{layer}': choose of {', '.join(layers)}.")
        self.network_name = name
        self.name = name if self.layer == usual else f"{name}-{self.layer}"
        self.weights = weights
        self.download = download
        self.published = _PUBLISHED[kind](name)

    @cached_property
    def file(self) -> Path:
        """The verified file; downloaded where that is allowed and needed.

        Raises:
            UserError: there is none, or not the right one; says how to get it.
        """
        if self.weights is not None:
            file = Path(self.weights).expanduser()
            if not file.is_file():
                raise UserError(
                    f"There are no weights of {self.network_name} at {file}: {self._ways}."
                )
        else:
            file = _cache() / self.published.file_name
            if not file.is_file():
                self._download(file)
        if self.published.sha256:
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            if not digest.startswith(self.published.sha256):
                raise UserError(
                    f"{file} does not hold the weights of {self.network_name} (its SHA-256 is"
                    f" {digest}, it should begin with {self.published.sha256}): delete it, and"
                    f" {self._ways}."
                )
        return file

    def check(self) -> None:
        """Find the weights without loading them; downloads them where that is allowed.

        Raises:
            UserError: there are none, or not the right ones; says how to get them.
        """
        _ = self.file
        if self.network_name in dinov2.MODEL_METADATA and not _dinov2_code().is_dir():
            self._download_code()

    def load(self, device: torch.device | str = "cpu") -> None:
        """Find and load the weights, once, and move them to ``device``; draws no random numbers.

        Raises:
            UserError: there are none, or not the right ones; says how to get them.
        """
        if not hasattr(self, "network"):
            self.check()
            try:
                # Constructors draw initial weights, for nothing.
                with torch.random.fork_rng(devices=[]), _no_advice():
                    network = self.published.build(self.network_name, self.layer, self.file)
            except Exception as error:  # torch's readers meet a torn file in many ways
                raise UserError(
                    f"{self.file} is damaged or does not hold the weights of {self.network_name}:"
                    f" delete it, and {self._ways}."
                ) from error
            self.network = network.requires_grad_(False).eval()
            self.weights_hash = hash_of_weights(self.network)
            side = getattr(self.network, "resolution", None) or self.network.INPUT_IMAGE_SIZE
            self.resize = f"bilinear {side} x {side}, TensorFlow 1"
        super().load(device)

    def forward(self, images: Tensor) -> Extracted:
        """Extracted (N, d) of images (N, 3 or 1, H, W) uint8."""
        with full_precision(images.device):
            return Extracted(self.network(as_rgb(images))[0])

    @property
    def _ways(self) -> str:
        """Half a sentence that names all ways to get the weights."""
        code = ""
        if self.network_name in dinov2.MODEL_METADATA:
            code = f", with the code of github.com/{DINOV2_REPOSITORY} in {_dinov2_code()}"
        return (
            f"run once where there is internet, or copy {self.published.url} to {_cache()}, or to"
            f" any place and set protocol.weights=PATH (while training: monitor.weights=PATH){code}"
        )

    def _download(self, file: Path) -> None:
        """Fetch the file; it appears under its name only when whole and verified."""
        cause = "none were found"
        if self.download:
            log.warning("Downloading the weights of %s to %s", self.network_name, file.parent)
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(
                    self.published.url, str(file), self.published.sha256 or None, progress=False
                )
                return
            except (OSError, RuntimeError) as error:  # the latter for a wrong hash
                cause = f"none were found and they cannot be downloaded ({error})"
        raise UserError(f"{self.name} needs its weights and {cause}: {self._ways}.")

    def _download_code(self) -> None:
        cause = "it is not there"
        if self.download:
            log.warning("Downloading the code of DINOv2 to %s", _dinov2_code())
            try:
                with _no_advice():
                    torch.hub.list(DINOV2_REPOSITORY, trust_repo=True, verbose=False)
                return
            except (OSError, RuntimeError, ValueError) as error:
                cause = f"it cannot be downloaded ({error})"
        raise UserError(f"{self.name} needs DINOv2's code and {cause}: {self._ways}.")


def names() -> list[str]:
    """Names that `FidelityExtractor` takes."""
    return [name for name, kind in FEATURE_EXTRACTORS_REGISTRY.items() if kind in _PUBLISHED]


def _cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _dinov2_code() -> Path:
    return Path(torch.hub.get_dir()) / DINOV2_CODE


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """Silence what TorchScript and DINOv2 say of libraries that nobody has asked for."""
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        yield


def _of_published_kind(
    kind: type[FeatureExtractorBase], name: str, layer: str, **attributes: Any
) -> FeatureExtractorBase:
    """torch-fidelity's object with its attributes set; its constructor has its own way to load."""
    extractor = kind.__new__(kind)
    FeatureExtractorBase.__init__(extractor, name, [layer])
    extractor.feature_extractor_internal_dtype = torch.float32
    for attribute, value in attributes.items():
        setattr(extractor, attribute, value)
    return extractor


def _vgg16(_: str) -> PublishedWeights:
    url = torchvision.models.VGG16_Weights.IMAGENET1K_V1.url
    file_name = url.rsplit("/", 1)[1]
    digest = file_name.removesuffix(".pth").split("-")[1]
    return PublishedWeights(url, file_name, digest, _build_vgg16)


def _build_vgg16(name: str, layer: str, file: Path) -> FeatureExtractorBase:
    with torch.device("meta"):
        model = torchvision.models.vgg16()
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True), assign=True)
    model.classifier = model.classifier[:4]  # up to the second hidden layer
    return _of_published_kind(FeatureExtractorVGG16, name, layer, model=model)


def _clip(name: str) -> PublishedWeights:
    digest = clip.MODEL_METADATA[name]["hash"]
    return PublishedWeights(clip.MODEL_URLS[name], f"{name}-{digest}.pt", digest, _build_clip)


def _build_clip(name: str, layer: str, file: Path) -> FeatureExtractorBase:
    state = torch.jit.load(file, map_location="cpu").state_dict()
    model = clip.build_model(state, torch.float32)
    side = model.visual.input_resolution
    return _of_published_kind(clip.FeatureExtractorCLIP, name, layer, model=model, resolution=side)


def _dinov2(name: str) -> PublishedWeights:
    url = DINOV2_URL.format(dinov2.MODEL_METADATA[name])
    return PublishedWeights(url, url.rsplit("/", 1)[1], "", _build_dinov2)


def _build_dinov2(name: str, layer: str, file: Path) -> FeatureExtractorBase:
    os.environ["XFORMERS_DISABLED"] = "1"  # as torch-fidelity does: they round otherwise
    model: nn.Module = torch.hub.load(
        str(_dinov2_code()), dinov2.MODEL_METADATA[name], source="local", pretrained=False
    )
    state = torch.load(file, map_location="cpu", weights_only=True)
    missing, _ = model.load_state_dict(state, strict=False)
    if missing:
        raise KeyError(missing[0])
    return _of_published_kind(dinov2.FeatureExtractorDinoV2, name, layer, model=model)


_PUBLISHED: dict[type[FeatureExtractorBase], Callable[[str], PublishedWeights]] = {
    FeatureExtractorVGG16: _vgg16,
    clip.FeatureExtractorCLIP: _clip,
    dinov2.FeatureExtractorDinoV2: _dinov2,
}
