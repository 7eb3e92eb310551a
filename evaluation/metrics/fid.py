"""The Frechet distance (M. Heusel et al., NeurIPS 2017): over all images, and class by class."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.frechet import FeatureStatistics, frechet_distance
from saddlepoint.evaluation.metrics.collectors import Moments
from saddlepoint.evaluation.metrics.metric import Batch, Collector, SetMetric
from saddlepoint.evaluation.ranks import from_all_ranks
from saddlepoint.records.record import SMALLER
from saddlepoint.schema import checked


class FID(SetMetric):
    """Frechet distance between the features of real and generated images."""

    name: ClassVar[str] = "fid"
    directions: ClassVar[dict[str, str]] = {"FID": SMALLER}
    leads: ClassVar[bool] = True

    def check(self, data: Any, num_real: int, num_fake: int) -> None:
        """Covariances need two images on each side."""
        if min(num_real, num_fake) < 2:
            raise UserError(
                "A Frechet distance needs at least 2 images on each side: set num_real and"
                " num_fake to more."
            )

    def of_reals(self, count: int, device: torch.device) -> dict[str, Collector]:
        """Moments."""
        return {"moments": Moments(device)}

    of_fakes = of_reals

    def compute(
        self, real: Mapping[str, Collector], fake: Mapping[str, Collector]
    ) -> dict[str, float]:
        """FID."""
        return {"FID": frechet_distance(real["moments"].statistics, fake["moments"].statistics)}


class ClassMoments(Collector):
    """Moments of the features of each class."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.device = device
        self.classes = [FeatureStatistics(device) for _ in range(num_classes)]

    def update(self, batch: Batch) -> None:
        """Add the features to those of their classes."""
        for label in batch.labels.unique().tolist():
            self.classes[label].update(batch.features[batch.labels == label])

    def merge_ranks(self) -> None:
        """Add the moments of all ranks; a rank may lack a class."""
        parts = from_all_ranks(self.state())
        self.load_state(parts[0])
        for part in parts[1:]:
            other = ClassMoments(len(self.classes), self.device)
            other.load_state(part)
            for mine, theirs in zip(self.classes, other.classes, strict=True):
                mine.merge(theirs)

    def state(self) -> dict[str, Tensor]:
        """Everything, as plain tensors."""
        return {
            f"{label}.{name}": tensor
            for label, statistics in enumerate(self.classes)
            if statistics.count
            for name, tensor in statistics.state().items()
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Become what had this state."""
        by_class: dict[int, dict[str, Tensor]] = {}
        for key, tensor in state.items():
            label, name = key.split(".", 1)
            by_class.setdefault(int(label), {})[name] = tensor
        for label in range(len(self.classes)):
            self.classes[label] = (
                FeatureStatistics.from_state(by_class[label], self.device)
                if label in by_class
                else FeatureStatistics(self.device)
            )


class IntraFID(SetMetric):
    """FID of each class of a conditional generator, and their mean.

    T. Miyato, M. Koyama, "cGANs with Projection Discriminator", ICLR 2018, section 5. An image
    counts for the class that it was asked to show.

    Args:
        per_class: whether each class's own distance is reported as well.
        settings: of `SetMetric`.
    """

    name: ClassVar[str] = "intra_fid"
    directions: ClassVar[dict[str, str]] = {"intra-FID": SMALLER}
    ranks: ClassVar[tuple[str, ...]] = ("intra-FID",)
    reads: ClassVar[tuple[str, ...]] = ("label",)

    @checked
    def __init__(self, per_class: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self.per_class = per_class
        self._classes: tuple[str, ...] = ()

    def definition(self) -> dict[str, Any]:
        """The mean has no options."""
        return {}

    def direction(self, value: str) -> str:
        """Each class's own distance is as good as it is small, too."""
        return SMALLER

    def check(self, data: Any, num_real: int, num_fake: int) -> None:
        """Classes are needed, and two images of each; that those asked for suffice shows later."""
        self._classes = tuple(data.spec.classes)
        needed = 2 * len(self._classes)
        if not needed:
            raise UserError(
                f"intra_fid compares class by class and {data.spec.name} has none: leave it out."
            )
        if min(num_real, num_fake) < needed:
            raise UserError(
                f"intra_fid needs at least 2 images of each of {len(self._classes)} classes on each"
                f" side: set num_real and num_fake to {needed} or far more."
            )

    def of_reals(self, count: int, device: torch.device) -> dict[str, Collector]:
        """Moments of each class."""
        return {"class moments": ClassMoments(len(self._classes), device)}

    of_fakes = of_reals

    def compute(
        self, real: Mapping[str, Collector], fake: Mapping[str, Collector]
    ) -> dict[str, float]:
        """intra-FID: the mean over classes; each class's own if asked for."""
        sides = [side["class moments"].classes for side in (real, fake)]
        for side, statistics in zip(("real", "generated"), sides, strict=True):
            counts = [s.count for s in statistics]
            if min(counts) < 2:
                lacking = self._classes[counts.index(min(counts))]
                raise UserError(
                    f"intra_fid needs at least 2 {side} images of each class and {lacking} has"
                    f" {min(counts)}: score a conditional run (gan=cgan_pd) on more images."
                )
        distances = [frechet_distance(a, b) for a, b in zip(*sides, strict=True)]
        scores = {"intra-FID": sum(distances) / len(distances)}
        if self.per_class:
            scores |= {
                f"intra-FID {name}": d for name, d in zip(self._classes, distances, strict=True)
            }
        return scores
