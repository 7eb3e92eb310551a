"""From features to what a generator is asked for: clusters, features, soft assignments."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.fields import Field, Label, Vector
from saddlepoint.datamodules.neighbours import WithNeighbours
from saddlepoint.errors import UserError
from saddlepoint.fingerprint import fingerprint
from saddlepoint.randomness import Draws, key_to_seed, keyed_generator
from saddlepoint.representations.assigner import Assigner
from saddlepoint.representations.clustering import Clustering, agreement, k_means, nearest
from saddlepoint.representations.processing import Processing
from saddlepoint.runs.artifact import Artifact
from saddlepoint.runs.pictures import side_by_side
from saddlepoint.runs.stages import REPORT, Progress, Stage
from saddlepoint.schema import Count, Natural, Positive, Size, checked

REPRESENTATION = "representation"  # the stage before this one
Mode = Literal["cluster", "feature", "soft", "random", "labels"]
#: Rows and columns of a picture of clusters.
SHOWN, IMAGES = 16, 12


class Conditioned(WithNeighbours):
    """Data whose items have conditions made of their features.

    Args:
        of: the data set, with its ``encoder``.
        assigner: tells the cluster of any image.
        mode: of the conditions, see `Conditioner`.
        vectors: (N, d) of the training items.
        ids: (N,), the clusters that their conditions ask for.
        neighbours: of `WithNeighbours`.
        temperature: of soft assignments.
        fields: the conditions.
    """

    def __init__(
        self,
        of: DataModule,
        assigner: Assigner,
        mode: Mode,
        vectors: Tensor,
        ids: Tensor,
        neighbours: Tensor | None = None,
        temperature: float = 1.0,
        **fields: Field,
    ) -> None:
        super().__init__(of, neighbours, **fields)
        self.encoder, self.assigner, self.mode = assigner.encoder, assigner, mode
        self.vectors, self.ids, self.temperature = vectors, ids, temperature

    def cluster_of(self, conditions: Tensor) -> Tensor:
        """The clusters (n,) that conditions (n, ...) ask for."""
        if self.mode == "feature":
            return self.assigner.assign(conditions)
        return conditions.argmax(1) if self.mode == "soft" else conditions

    def asking_for(self, cluster: int, n: int, draws: Draws) -> Tensor:
        """Conditions (n, ...) that ask for one cluster: its id, or vectors drawn as its own are.

        Such a vector is from the normal distribution N(mu_k, S_k) of the cluster's vectors, brought
        to length 1; a soft assignment is that of such a vector.

        Raises:
            UserError: there is no such cluster.
        """
        if not 0 <= cluster < len(self.assigner.centres):
            raise UserError(
                f"cluster={cluster} is none of the {len(self.assigner.centres)} clusters: choose"
                f" one from 0 to {len(self.assigner.centres) - 1}."
            )
        if self.mode not in ("feature", "soft"):
            return torch.full((n,), cluster, device=draws.device)
        own = self.vectors[self.ids == cluster].to(draws.device)
        mean = own.mean(0)
        # Of covariance X^T X / (m - 1), which has no inverse where items are fewer than directions.
        noise = draws.normal(n, len(own)) / max(len(own) - 1, 1) ** 0.5
        vectors = F.normalize(mean + noise @ (own - mean), dim=1)
        if self.mode == "feature":
            return vectors
        return self.assigner.soft(vectors.cpu(), self.temperature).to(draws.device)

    def nearest_items(self, vectors: Tensor, count: int) -> Tensor:
        """Training items (n, count) nearest to vectors (n, d)."""
        return nearest(self.vectors, count, vectors)

    def items_of(self, conditions: Tensor, count: int) -> Tensor:
        """Training items (n, count) that show conditions (n, ...) best.

        Those nearest to a feature; of a cluster, those of its items that are nearest to its centre,
        and again from the first on where there are fewer.
        """
        if self.mode == "feature":
            return self.nearest_items(conditions, count)
        rows = []
        for cluster in self.cluster_of(conditions).tolist():
            own = torch.nonzero(self.ids == cluster).flatten()
            from_centre = self.assigner.distances(self.vectors[own])[:, cluster]
            rows.append(own[from_centre.argsort(stable=True)][torch.arange(count) % len(own)])
        return torch.stack(rows)


class Conditioner(Stage):
    """Processes the features of stage ``representation``, clusters them, and makes conditions.

    Features lose their mean, go through a PCA, whitening if wanted, and get length 1, all fitted to
    the training items. Whatever the mode, vectors are clustered: what a generated image shows is
    judged by the nearest centre.

    Args:
        mode: ``cluster``: the class of an item is its cluster; ``feature``: its vector is its
            condition; ``soft``: softmax over clusters of -distance^2 / temperature. For comparison:
            ``random``: cluster ids dealt out at random, as many of each; ``labels``: the data's own
            classes.
        k: clusters.
        dim: largest number of principal directions.
        whiten: whether all of them count alike; None whitens except in mode ``feature``.
        seed: key of all randomness; not the run's.
        restarts: of k-means, of which the best start is taken.
        temperature: of soft assignments.
        k_nn: the real of a condition is one of so many items nearest to it; None is 50 in mode
            ``feature`` (A. Casanova et al., arXiv 2109.05070) and otherwise 0, the item itself.
    """

    #: Raised when the same settings would give other conditions.
    definition = 1

    @checked
    def __init__(
        self,
        mode: Mode = "cluster",
        *,
        k: Count = 10,
        dim: Size = 128,
        whiten: bool | None = None,
        seed: Natural = 0,
        restarts: Count = 10,
        temperature: Positive = 0.1,
        k_nn: Natural | None = None,
    ) -> None:
        self.mode, self.k, self.dim, self.seed = mode, k, dim, seed
        self.whiten = mode != "feature" if whiten is None else whiten
        self.restarts, self.temperature = restarts, temperature
        self.k_nn = (50 if mode == "feature" else 0) if k_nn is None else k_nn
        if self.k_nn and mode not in ("feature", "soft"):
            raise UserError(
                f"k_nn={self.k_nn} is for vectors as conditions, and mode={mode} makes classes:"
                " leave stages.conditioner.k_nn out."
            )

    def fingerprint(self, data: DataModule, earlier: Mapping[str, Artifact]) -> str:
        """By the representation, and how its features become conditions.

        Raises:
            UserError: there is no representation, or there are no classes where they are wanted.
        """
        if REPRESENTATION not in earlier:
            raise UserError(
                "A conditioner makes conditions of features, and there are none: choose"
                " representation=simclr, pica, deep_cluster or extractor."
            )
        if self.mode == "labels" and not data.spec.num_classes:
            raise UserError(
                f"{data.spec.name} has no classes to compare with: leave conditioner=labels out."
            )
        settings = ("mode", "k", "dim", "whiten", "seed", "restarts", "temperature", "k_nn")
        return fingerprint(
            {
                "definition": self.definition,
                "representation": earlier[REPRESENTATION].fingerprint,
                "annotations": data.spec.annotations.get("label", ""),
                **{name: getattr(self, name) for name in settings},
            }
        )

    def make(
        self, data: DataModule, earlier: Mapping[str, Artifact], progress: Progress
    ) -> dict[str, Any]:
        """Fit, cluster, and compare with the data's classes where there are some."""
        features = earlier[REPRESENTATION].content["features"]
        steps = ("fitting a PCA", "clustering", "comparing")
        progress(steps[0], 0, len(steps))
        processing = Processing.fitted(features, self.dim, self.whiten)
        vectors = processing(features)
        progress(steps[1], 1, len(steps))
        truth = data.source.label.read(torch.arange(len(features))) if data.spec.classes else None
        found = _means(vectors, truth) if self.mode == "labels" else self._clustering(vectors)
        ids = found.ids
        if self.mode == "random":
            generator = keyed_generator(self.seed, "random ids")
            ids = ids[torch.randperm(len(ids), generator=generator)]
        progress(steps[2], 2, len(steps))
        sizes = ids.bincount(minlength=len(found.centres))
        report: dict[str, float] = {
            "clusters": len(sizes),
            "smallest": int(sizes.min()),
            "largest": int(sizes.max()),
        }
        if truth is not None:
            report |= agreement(truth, ids)
        return {
            "mean": processing.mean,
            "matrix": processing.matrix,
            "centres": found.centres,
            "ids": ids,
            "vectors": vectors,
            "neighbours": nearest(vectors, self.k_nn) if self.k_nn else None,
            REPORT: report,
        }

    def _clustering(self, vectors: Tensor) -> Clustering:
        return k_means(vectors, self.k, key_to_seed(self.seed, "k-means"), restarts=self.restarts)

    def join(self, data: DataModule, artifact: Artifact) -> Conditioned:
        """Give each item its condition: ``label``, or ``vector``."""
        content = artifact.content
        processing = Processing(content["mean"], content["matrix"])
        assigner = Assigner(data.encoder, processing, content["centres"])
        fields: dict[str, Field] = {}
        if self.mode in ("cluster", "random"):
            names = [f"cluster {k}" for k in range(len(content["centres"]))]
            fields["label"] = Label(content["ids"], names)
        elif self.mode == "feature":
            fields["vector"] = Vector(content["vectors"])
        elif self.mode == "soft":
            fields["vector"] = Vector(assigner.soft(content["vectors"], self.temperature))
        made = (content["vectors"], content["ids"], content["neighbours"], self.temperature)
        return Conditioned(data, assigner, self.mode, *made, **fields)

    def picture(self, data: Conditioned, artifact: Artifact) -> Image.Image:
        """One row a cluster: items of it in their order."""
        ids = artifact.content["ids"]
        sizes = ids.bincount(minlength=len(artifact.content["centres"]))
        rows = sizes.argsort(descending=True, stable=True)[:SHOWN]
        items = [torch.nonzero(ids == row).flatten() for row in rows.tolist()]
        # Of small clusters items are repeated.
        items = torch.stack([each[torch.arange(IMAGES) % len(each)] for each in items])
        images = data.source.read(items.flatten()).image.unflatten(0, items.shape)
        block = (f"the {len(rows)} largest of {len(sizes)}, mode {self.mode}", images, None)
        return side_by_side([block], f"{data.spec.name}: one row a cluster.")


def _means(vectors: Tensor, classes: Tensor) -> Clustering:
    """The clustering that the classes are."""
    centres = torch.stack([vectors[classes == k].mean(0) for k in classes.unique().tolist()])
    return Clustering(classes, centres)
