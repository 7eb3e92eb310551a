"""Stages that leave features of all training images, and what they need in common."""

from abc import abstractmethod
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.fields import Field
from saddlepoint.datamodules.relabelled import Joined
from saddlepoint.errors import UserError
from saddlepoint.evaluation.analysis.neighbours import NearestSearch
from saddlepoint.extractors.extractor import Extractor
from saddlepoint.randomness import keyed_generator
from saddlepoint.representations.probes import probed
from saddlepoint.runs.artifact import Artifact
from saddlepoint.runs.pictures import side_by_side
from saddlepoint.runs.stages import REPORT, Stage

#: Images that a report reads at most: those of which pixels are compared, too.
REPORTED = 25_000
#: Rows and columns of a picture of neighbours.
SHOWN, NEIGHBOURS = 8, 8


class Represented(Joined):
    """Data with an encoder of their images.

    Args:
        of: the data set.
        encoder: gives the features.
        fields: of `Joined`.
    """

    def __init__(self, of: DataModule, encoder: Extractor, **fields: Field) -> None:
        super().__init__(of, **fields)
        self.encoder = encoder


class Representation(Stage):
    """A stage whose artifact has ``features`` (N, p), row i being those of training item i."""

    @abstractmethod
    def encoder(self, data: DataModule, artifact: Artifact) -> Extractor:
        """What the features are from."""

    def content(self, data: DataModule, features: Tensor) -> dict[str, Any]:
        """What every representation leaves: features, whose they are, and what they tell."""
        report = reported(data, features)
        return {"features": features, "data": data.spec.digest, REPORT: report}

    def join(self, data: DataModule, artifact: Artifact) -> Represented:
        """Give the data their encoder.

        Raises:
            UserError: the features are those of other images.
        """
        if artifact.content["data"] != data.spec.digest:
            raise UserError(
                f"The features of stage {artifact.name} are not those of {data.spec.name}: delete"
                " its artifact."
            )
        return Represented(data, self.encoder(data, artifact))

    def picture(self, data: DataModule, artifact: Artifact) -> Image.Image:
        """Some images, and beside each the images whose features point the same way."""
        vectors = torch.nn.functional.normalize(artifact.content["features"].double(), dim=1)
        order = torch.randperm(len(vectors), generator=keyed_generator("shown neighbours"))
        shown = order[:SHOWN]
        search = NearestSearch(vectors[shown], min(NEIGHBOURS, len(vectors) - 1), own=shown)
        search.update(vectors)
        blocks = [
            ("image", _images(data, shown[:, None]), None),
            ("nearest by features", _images(data, search.indices), None),
        ]
        return side_by_side(blocks, f"{data.spec.name}: neighbours by the cosine of features.")


def reported(data: DataModule, features: Tensor) -> dict[str, float]:
    """Accuracies of probes, where there are labels: they are read for this alone."""
    source = data.source
    labels = {"class": "label", "attributes": "attributes"}
    labels = {name: field for name, field in labels.items() if source.names(field)}
    if not labels:
        return {}
    order = torch.randperm(len(features), generator=keyed_generator("reported"))
    chosen = order[:REPORTED].sort().values
    items = source.read(chosen)
    return probed(
        features[chosen], items.image, {name: items[field] for name, field in labels.items()}
    )


def best_device(name: str) -> torch.device:
    """A device by name; "auto" is a GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _images(data: DataModule, items: Tensor) -> Tensor:
    """Images (rows, columns, C, H, W) of items (rows, columns)."""
    return data.source.read(items.flatten()).image.unflatten(0, items.shape)
