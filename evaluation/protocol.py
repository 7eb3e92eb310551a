"""What a score means: everything that moves it, and a fingerprint of that."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

#: Raised whenever a change of this package moves a score.
DEFINITION = 1


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
        seed: key of the choice of reals and of the generated images.
        generator: "ema" (moving average of the weights) or "raw".
        batch_norm: "eval", with running statistics.
        versions: of the libraries that a score depends on.
    """

    dataset: str
    dataset_digest: str
    num_real: int
    num_fake: int
    extractor: str
    extractor_hash: str
    resize: str
    quantisation: str
    seed: int
    generator: str = "ema"
    batch_norm: str = "eval"
    versions: dict[str, str] = field(default_factory=library_versions)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for records."""
        return asdict(self)

    @property
    def fingerprint(self) -> str:
        """Equal for equal protocols."""
        return fingerprint(self.as_dict())

    @property
    def real_side_fingerprint(self) -> str:
        """Equal where the real images have equal features."""
        generated = ("num_fake", "generator", "batch_norm")
        return fingerprint({k: v for k, v in self.as_dict().items() if k not in generated})
