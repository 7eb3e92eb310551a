"""A representation that is learned from the images at hand, without their labels."""

from collections.abc import Mapping
from typing import Any

import torch

from saddlepoint.datamodules.base import DataModule
from saddlepoint.errors import UserError
from saddlepoint.extractors.network import NetworkExtractor
from saddlepoint.fingerprint import fingerprint
from saddlepoint.randomness import key_to_seed, keyed_generator
from saddlepoint.representations.clustering import agreement
from saddlepoint.representations.method import RepresentationMethod
from saddlepoint.representations.training import features_of, train
from saddlepoint.runs.artifact import Artifact
from saddlepoint.runs.representation import Representation, best_device
from saddlepoint.runs.stages import REPORT, Progress
from saddlepoint.schema import Count, Images, Natural, checked


class LearnedRepresentation(Representation):
    """Trains a method of `representations`, and keeps its encoder and the features of all items.

    Neither training nor the choice of what is kept reads a label; the report does.

    Args:
        method: how to learn.
        epochs: times that each image is shown.
        batch_size: images of an update.
        seed: key of all randomness; not the run's.
        items: images to learn from, a random choice; None takes all.
        device: "cpu", "cuda", or "auto": a GPU where there is one.
    """

    #: Raised when the same settings would give other features.
    definition = 1

    @checked
    def __init__(
        self,
        method: RepresentationMethod,
        *,
        epochs: Count = 200,
        batch_size: Images = 256,
        seed: Natural = 0,
        items: Count | None = None,
        device: str = "auto",
    ) -> None:
        self.method, self.epochs, self.batch_size = method, epochs, batch_size
        self.seed, self.items, self.device = seed, items, best_device(device)

    def fingerprint(self, data: DataModule, earlier: Mapping[str, Artifact]) -> str:
        """By the images, the method, and how long it learns."""
        return fingerprint(
            {
                "definition": self.definition,
                "data": data.spec.digest,
                "method": self.method.definition(),
                "epochs": self.epochs,
                "batch_size": self.batch_size,
                "seed": self.seed,
                "items": self.items,
            }
        )

    def make(
        self, data: DataModule, earlier: Mapping[str, Artifact], progress: Progress
    ) -> dict[str, Any]:
        """Learn; then pass every item through the encoder.

        Raises:
            UserError: items that are no images, or a loss that is not finite.
        """
        spec = data.spec
        if len(spec.shape) != 3:
            raise UserError(
                f"{spec.name} holds no images to learn a representation of: choose images, or"
                " representation=extractor with extractor: raw."
            )
        order = torch.randperm(spec.num_items, generator=keyed_generator(self.seed, "items"))
        train(
            self.method,
            data.source,
            order[: self.items].sort().values,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=self.seed,
            device=self.device,
            num_workers=data.num_workers if self.device.type == "cuda" else 0,
            progress=progress,
            left=progress.left(),
            keep=progress.keep,
        )
        everything = torch.arange(spec.num_items)
        features = features_of(self.method, data.source, everything, self.device, progress)
        content = self.content(data, features)
        with torch.no_grad():
            told = self.method.partition(features.to(self.device))
        if told is not None and spec.num_classes:
            found = agreement(data.source.label.read(everything), told.cpu())
            content[REPORT] |= {f"{name} of its own clusters": v for name, v in found.items()}
        weights = self.method.encoder.state_dict()
        return {**content, "weights": {name: value.cpu() for name, value in weights.items()}}

    def encoder(self, data: DataModule, artifact: Artifact) -> NetworkExtractor:
        """The trained encoder."""
        torch.manual_seed(key_to_seed(self.seed, "initial weights"))
        self.method.build(data.spec.shape)
        network = self.method.encoder
        network.load_state_dict(artifact.content["weights"])
        return NetworkExtractor(
            network.eval(), self.method.name, value_range=(-1.0, 1.0), rgb=False
        )
