"""How many modes of the data a generator reaches, and how evenly.

L. Metz, B. Poole, D. Pfau, J. Sohl-Dickstein, "Unrolled Generative Adversarial Networks", ICLR
2017; A. Srivastava et al., "VEEGAN", NeurIPS 2017, section 4 (modes, Kullback-Leibler divergence,
high-quality samples).
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.metric import Batch, Collector, SetMetric
from saddlepoint.evaluation.ranks import from_all_ranks
from saddlepoint.records.record import LARGER, SMALLER
from saddlepoint.schema import Count, Positive, checked


class Modes(SetMetric):
    """Modes reached, the divergence of their shares from equal ones, and samples near a mode.

    A mode of points is a Gaussian of the data; a point belongs to the nearest one, and is of high
    quality if it lies near its mean. Points of low quality count for no mode. A mode of images is a
    class; an image belongs to the one that the extractor's classifier finds most probable.

    Args:
        radius: points up to here from the mean of their mode are of high quality, in standard
            deviations of the mode.
        distance: the same in the points' own units, whatever the standard deviation; None goes by
            ``radius``.
        registered: samples that a mode needs to count as reached. With 20 of 2,000 and a
            ``distance`` it is the rule of N.-T. Tran et al., "Dist-GAN", ECCV 2018.
        settings: of `SetMetric`.
    """

    name: ClassVar[str] = "modes"
    directions: ClassVar[dict[str, str]] = {
        "modes": LARGER,
        "KL": SMALLER,
        "high_quality": LARGER,
        "registered": LARGER,
    }

    @checked
    def __init__(
        self,
        radius: Positive = 3.0,
        distance: Positive | None = None,
        registered: Count = 1,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.radius = radius
        self.distance = distance
        self.registered = registered
        self._centres: Tensor | None = None
        self._largest = math.inf
        self._num_classes = 0

    @property
    def needs_logits(self) -> bool:
        """Whether the modes are classes of images; known after `check`."""
        return self._num_classes > 0

    def check(self, data: Any, num_real: int, num_fake: int) -> None:
        """Modes have to be known, and the samples enough to reach all."""
        centres = getattr(data, "mode_centres", None)
        classes = data.spec.classes if len(data.spec.shape) == 3 else ()
        if centres is None and len(classes) < 2:
            raise UserError(
                f"{data.spec.name} has neither modes with known centres nor classes to count: leave"
                " the score modes out."
            )
        modes = len(classes) if centres is None else len(centres)
        if num_fake < modes * self.registered:
            raise UserError(
                f"{num_fake:,} samples cannot reach {modes:,} modes with {self.registered} each:"
                f" set num_fake to far more than {modes * self.registered:,}."
            )
        self._centres, self._num_classes = centres, modes if centres is None else 0
        if centres is not None:
            self._largest = self.radius * data.mode_std if self.distance is None else self.distance

    def of_fakes(self, count: int, device: torch.device) -> dict[str, Collector]:
        """Samples of each mode."""
        if self._centres is None:
            return {"samples of modes": PredictedClasses(self._num_classes, device)}
        return {"samples of modes": NearCentres(self._centres, self._largest, device)}

    def compute(
        self, real: Mapping[str, Collector], fake: Mapping[str, Collector]
    ) -> dict[str, float]:
        """Modes, KL (in nats) and, for points, those of high quality: a share and a number.

        KL is that of the samples' distribution over modes from the uniform one,
        log K + sum_k p_k log p_k. Without a sample near any mode it is log K, its largest value.
        """
        state = fake["samples of modes"].state()
        counts, total = state["counts"].double().cpu(), int(state["total"])
        scores = {
            "modes": float((counts >= self.registered).sum()),
            "KL": divergence_from_uniform(counts),
        }
        if self._centres is not None:
            scores["high_quality"] = float(counts.sum()) / total
            scores["registered"] = float(counts.sum())
        return scores


def divergence_from_uniform(counts: Tensor) -> float:
    """KL(p || uniform) in nats of the distribution p with these counts (K,); log K without any."""
    largest = math.log(len(counts))
    if counts.sum() == 0:
        return largest
    shares = counts / counts.sum()
    # Rounding may leave a negative zero.
    return max(0.0, largest + torch.special.xlogy(shares, shares).sum().item())


class ModeCounts(Collector):
    """Samples of each mode, and in all; memory does not grow with the samples."""

    def __init__(self, num_modes: int, device: torch.device) -> None:
        self.device = device
        self.counts = torch.zeros(num_modes, dtype=torch.int64, device=device)
        self.total = 0

    def add(self, modes: Tensor, counted: Tensor) -> None:
        """Count samples.

        Args:
            modes: (n,) int64.
            counted: (n,) of 0 and 1: whether the sample counts for its mode.
        """
        self.counts.index_add_(0, modes, counted.to(torch.int64))
        self.total += len(modes)

    def merge_ranks(self) -> None:
        """Add the counts of all ranks."""
        parts = from_all_ranks(self.state())
        self.load_state({n: torch.stack([part[n] for part in parts]).sum(0) for n in parts[0]})

    def state(self) -> dict[str, Tensor]:
        """Samples that count for each mode (K,), and samples in all ()."""
        return {"counts": self.counts, "total": torch.tensor(self.total)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Become what had this state."""
        self.counts = state["counts"].to(self.device)
        self.total = int(state["total"])


class NearCentres(ModeCounts):
    """Points near the centre of their mode, which is the nearest one.

    Args:
        centres: (K, d).
        largest: distance up to which a point counts.
        device: where to count.
    """

    def __init__(self, centres: Tensor, largest: float, device: torch.device) -> None:
        super().__init__(len(centres), device)
        self.centres = centres.to(device, torch.float32)
        self.largest = largest

    def update(self, batch: Batch) -> None:
        """Count points (n, d)."""
        if batch.features.shape[1:] != self.centres.shape[1:]:
            raise UserError(
                f"Modes of points are told by their {self.centres.shape[1]} coordinates and the"
                f" extractor gives {batch.features.shape[1]} features: set extractor=raw."
            )
        offsets = batch.features.to(self.device)[:, None] - self.centres
        distances, modes = offsets.square().sum(2).sqrt().min(1)
        self.add(modes, distances <= self.largest)


class PredictedClasses(ModeCounts):
    """Images by their most probable class."""

    def update(self, batch: Batch) -> None:
        """Count images by logits (n, K)."""
        if batch.logits.shape[1] != len(self.counts):
            raise UserError(
                f"The extractor tells {batch.logits.shape[1]:,} classes and the data have"
                f" {len(self.counts):,}: use a classifier that python train_extractor.py trained on"
                " these data."
            )
        modes = batch.logits.to(self.device).argmax(1)
        self.add(modes, torch.ones_like(modes))
