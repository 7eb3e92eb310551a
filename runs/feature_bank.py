"""The features of every training item, in the order of the data set."""

from collections.abc import Mapping
from typing import Any

import torch

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.fields import Vector
from saddlepoint.extractors.extractor import Extractor
from saddlepoint.extractors.named import extractor_named
from saddlepoint.fingerprint import fingerprint
from saddlepoint.runs.artifact import Artifact
from saddlepoint.runs.representation import Representation, Represented, best_device
from saddlepoint.runs.stages import Progress
from saddlepoint.schema import Count, checked


class FeatureBank(Representation):
    """``features`` (N, d) float32 of the N training items; row i belongs to the item of index i.

    Images are taken as they are stored, without flips.

    Args:
        extractor: gives the features; an object, or a name, see `extractors.named`.
        weights: file with its weights, where it takes one; None looks for them.
        download: whether weights may be downloaded where none are found.
        serve: whether the items get them as their field ``vector``, for condition=vectors.
        batch_size: items in one pass; moves no feature.
        device: "cpu", "cuda", or "auto": a GPU where there is one.
    """

    #: Raised when features would come out otherwise.
    definition = 2

    @checked
    def __init__(
        self,
        extractor: Extractor | str,
        *,
        weights: str | None = None,
        download: bool = False,
        serve: bool = False,
        batch_size: Count = 256,
        device: str = "auto",
    ) -> None:
        if isinstance(extractor, str):
            extractor = extractor_named(extractor, weights, download)
        self.extractor, self.serve, self.batch_size = extractor, serve, batch_size
        self.device = best_device(device)

    def fingerprint(self, data: DataModule, earlier: Mapping[str, Artifact]) -> str:
        """By the images, the extractor's weights, and how images reach it."""
        self.extractor.load(self.device)
        return fingerprint(
            {
                "definition": self.definition,
                "data": data.spec.digest,
                "extractor": self.extractor.name,
                "weights": self.extractor.weights_hash,
                "resize": self.extractor.resize,
                "quantisation": self.extractor.quantisation,
            }
        )

    @torch.no_grad()
    def make(
        self, data: DataModule, earlier: Mapping[str, Artifact], progress: Progress
    ) -> dict[str, Any]:
        """Pass every item through the extractor."""
        self.extractor.load(self.device)
        features, done = [], 0
        for items in data.real_batches(self.batch_size):
            images = items.image.to(self.device)
            features.append(self.extractor(self.extractor.quantise(images)).features.float().cpu())
            done += len(images)
            progress("features", done, data.spec.num_items)
        return self.content(data, torch.cat(features))

    def encoder(self, data: DataModule, artifact: Artifact) -> Extractor:
        """The extractor itself."""
        return self.extractor

    def join(self, data: DataModule, artifact: Artifact) -> Represented:
        """Give each item its row, where that is asked for."""
        joined = super().join(data, artifact)
        if self.serve:
            joined.fields["vector"] = Vector(artifact.content["features"])
        return joined
