"""What a score means: everything that moves it, and a fingerprint of that."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

#: Raised whenever a change of this package moves a score.
DEFINITION = 2

#: What the features of the real images depend on.
REAL_SIDE = (
    *("dataset", "dataset_digest", "num_real", "extractor", "extractor_hash", "resize"),
    *("quantisation", "jpeg", "versions"),
)


def library_versions() -> dict[str, str]:
    """Versions that a score depends on; patch releases and builds of torch are one version."""
    return {
        "evaluation": str(DEFINITION),
        "torch": ".".join(version("torch").split(".")[:2]),
        "torch-fidelity": version("torch-fidelity"),
    }


def fingerprint(values: dict[str, Any]) -> str:
    """Hash of plain values, the same on every machine: 32 hexadecimal digits."""
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Protocol:
    """Everything that moves a score. Scores of two protocols are never compared.

    Attributes:
        dataset: name of the data.
        dataset_digest: identifies exactly the images served.
        num_real: real images used.
        num_fake: generated images used.
        extractor: name of the feature extractor.
        extractor_hash: of its weights; "" if it has none.
        resize: how images reach the extractor's size.
        quantisation: how float images become the extractor's input.
        scores: {metric: options that move it}.
        seeds: keys of the generated images, one evaluation each; the first also of the choice of
            reals.
        stretch: "" or "set": generated images stretched to the full range, over all of them.
        jpeg: quality of a round trip through JPEG on both sides; None without.
        generator: "ema" (moving average of the weights), "raw", or "images" from elsewhere.
        batch_norm: "eval", with running statistics, or "batch of 64", with those of a batch.
        versions: of the libraries that a score depends on.
        name: under conf/protocol, if it is one of those unchanged; moves nothing.
    """

    dataset: str
    dataset_digest: str
    num_real: int
    num_fake: int
    extractor: str
    extractor_hash: str
    resize: str
    quantisation: str
    scores: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]
    stretch: str = ""
    jpeg: int | None = None
    generator: str = "ema"
    batch_norm: str = "eval"
    versions: dict[str, str] = field(default_factory=library_versions)
    name: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for records."""
        return {**asdict(self), "seeds": list(self.seeds)}

    @property
    def fingerprint(self) -> str:
        """Equal for equal protocols, whatever they are called."""
        return fingerprint({k: v for k, v in self.as_dict().items() if k != "name"})

    def real_side_fingerprint(self, collector: str, all_reals: bool) -> str:
        """Equal where a collector of this name holds the same of the real images.

        Args:
            collector: its name.
            all_reals: whether all real images are used, so that no seed chooses.
        """
        values = {k: v for k, v in self.as_dict().items() if k in REAL_SIDE}
        seed = None if all_reals else self.seeds[0]
        return fingerprint(values | {"collector": collector, "seed": seed})
