"""What a score means: everything that moves it, and a fingerprint of that."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from saddlepoint.extractors.extractor import Extractor
from saddlepoint.fingerprint import fingerprint

#: Raised whenever a change, of this package or of a library, moves a score beyond its tolerance in
#: the tests. Versions of libraries are provenance and stand in records, not in protocols.
DEFINITION = 3

#: What the features of the real images depend on.
REAL_SIDE = (
    *("dataset", "dataset_digest", "num_real", "extractor", "extractor_hash", "resize"),
    *("quantisation", "jpeg", "annotations", "definition"),
)

#: What few protocols have.
RARE = ("extractors", "annotations", "inputs")


def about(extractor: Extractor) -> dict[str, str]:
    """What moves features, once the weights are loaded: their hash, resize and quantisation."""
    return {
        "hash": extractor.weights_hash,
        "resize": extractor.resize,
        "quantisation": extractor.quantisation,
    }


def annotations(spec: Any, fields: Iterable[str]) -> dict[str, str]:
    """Digests of some fields of data, those that are annotations of the images."""
    known = spec.annotations
    return {name: known[name] for name in sorted(fields) if name in known}


@dataclass(frozen=True)
class Protocol:
    """Everything that moves a score. Scores of two protocols are never compared.

    Attributes:
        dataset: name of the data.
        dataset_digest: identifies exactly the images served.
        num_real: real images used; 0 where only pairs are compared.
        num_fake: generated images used.
        extractor: name of the feature extractor; "none" where nothing goes through one.
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
        extractors: {name: hash, resize, quantisation} of others that some scores use.
        annotations: digests of the data's fields that scores read beside the images.
        inputs: dataset and digest of the images that a generator is fed with, digests of their
            fields that scores read, and the number of examples ("shots") where it is given some.
        definition: number of the definition of all scores, see ``DEFINITION``.
        name: under conf/protocol, if it is one of those unchanged; moves nothing.
    """

    dataset: str
    dataset_digest: str
    num_real: int
    num_fake: int
    scores: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]
    extractor: str = "none"
    extractor_hash: str = ""
    resize: str = "none"
    quantisation: str = Extractor.quantisation
    stretch: str = ""
    jpeg: int | None = None
    generator: str = "ema"
    batch_norm: str = "eval"
    extractors: dict[str, dict[str, str]] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    definition: int = DEFINITION
    name: str | None = None

    def seen_by(self, extractor: Extractor | None) -> Self:
        """The same with this main extractor, whose weights are loaded; None changes nothing."""
        if extractor is None:
            return self
        values = about(extractor)
        return replace(self, extractor=extractor.name, extractor_hash=values.pop("hash"), **values)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for records; what few protocols have is there only where it says something.

        Protocols from before there was such a thing keep their fingerprints that way.
        """
        values = {**asdict(self), "seeds": list(self.seeds)}
        return {k: v for k, v in values.items() if v or k not in RARE}

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
