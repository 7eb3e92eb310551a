"""Collectors that several metrics share."""

import torch
from torch import Tensor

from saddlepoint.evaluation.frechet import FeatureStatistics
from saddlepoint.evaluation.metrics.metric import Batch, Collector, SetMetric
from saddlepoint.evaluation.ranks import from_all_ranks


class Moments(Collector):
    """Number, mean and covariance of the features; memory does not grow with the images."""

    def __init__(self, device: torch.device) -> None:
        self.statistics = FeatureStatistics(device)

    def update(self, batch: Batch) -> None:
        """Add the features."""
        self.statistics.update(batch.features)

    def merge_ranks(self) -> None:
        """Add the moments of all ranks."""
        self.statistics.merge_ranks()

    def state(self) -> dict[str, Tensor]:
        """Everything, as plain tensors."""
        return self.statistics.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Become what had this state."""
        self.statistics = FeatureStatistics.from_state(state, self.statistics.device)


class Vectors(Collector):
    """The features themselves, float32, and the images' classes, in the order of the images."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._features: list[Tensor] = []
        self._labels: list[Tensor] = []

    @property
    def features(self) -> Tensor:
        """(N, d) float32."""
        return self._joined(self._features)

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        return self._joined(self._labels)

    def update(self, batch: Batch) -> None:
        """Keep the batch."""
        self._features.append(batch.features.to(self.device, torch.float32))
        self._labels.append(batch.labels.to(self.device))

    def merge_ranks(self) -> None:
        """Put the parts of all ranks one after the other."""
        parts = from_all_ranks(self.state())
        if len(parts) > 1:
            joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            self.load_state(joined)

    def state(self) -> dict[str, Tensor]:
        """Everything, as plain tensors."""
        return {"features": self.features, "labels": self.labels}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Become what had this state."""
        self._features = [state["features"].to(self.device)]
        self._labels = [state["labels"].to(self.device)]

    @staticmethod
    def _joined(parts: list[Tensor]) -> Tensor:
        if len(parts) > 1:
            parts[:] = [torch.cat(parts)]
        return parts[0]


class MetricOfVectors(SetMetric):
    """A metric that needs the features of both sides themselves."""

    def of_reals(self, count: int, device: torch.device) -> dict[str, Collector]:
        """The features."""
        return {"vectors": Vectors(device)}

    of_fakes = of_reals
