"""What a metric is: what it keeps of each side of a comparison, and numbers from both.

The images of a side pass through the extractor once. Each metric names the collectors it needs;
metrics that name the same one share it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Some images of one side, as the extractor sees them.

    Attributes:
        features: (n, d) float.
        logits: (n, k) float, unnormalised log-probabilities of classes; None without a classifier.
        labels: (n,) int64, the images' own classes; zeros where there are none.
        start: position of the first image among all of its side.
    """

    features: Tensor
    logits: Tensor | None
    labels: Tensor
    start: int


class Collector(ABC):
    """Keeps what metrics need of one side's images.

    With several ranks each one sees a contiguous part of the images, in the order of ranks.
    """

    @abstractmethod
    def update(self, batch: Batch) -> None:
        """Take in a batch, without waiting for the device."""

    @abstractmethod
    def merge_ranks(self) -> None:
        """Take in what all other ranks hold, where there are several; all ranks end up equal."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything, as plain tensors."""

    @abstractmethod
    def load_state(self, state: dict[str, Tensor]) -> None:
        """Become what had this `state`, on this collector's device."""


class Metric(ABC):
    """A score, or some that belong together.

    Attributes are the options that move its values: `definition` has them for the protocol.
    """

    #: Name in settings and protocols.
    name: ClassVar[str]
    #: Whether the extractor has to give class probabilities.
    needs_logits: ClassVar[bool] = False

    def definition(self) -> dict[str, Any]:
        """Options that move the values, as plain values."""
        return dict(vars(self))

    @abstractmethod
    def check(self, data: Any, num_real: int, num_fake: int) -> None:
        """Find out in a moment whether the score can be had.

        Args:
            data: a data module, see `datamodules.base.DataModule`.
            num_real: real images that will be used.
            num_fake: generated images that will be used.

        Raises:
            UserError: too few images, or the data lack what the metric needs.
        """

    def of_reals(self, count: int, device: torch.device) -> dict[str, Collector]:
        """Collectors by name for ``count`` real images; none for a metric of fakes alone."""
        return {}

    @abstractmethod
    def of_fakes(self, count: int, device: torch.device) -> dict[str, Collector]:
        """Collectors by name for ``count`` generated images."""

    @abstractmethod
    def compute(
        self, real: Mapping[str, Collector], fake: Mapping[str, Collector]
    ) -> dict[str, float]:
        """Scores by the names they have under the Inception network of FID.

        Features and logits are finite; that has been checked.

        Args:
            real: full collectors, those of `of_reals` among them.
            fake: full collectors, those of `of_fakes` among them.
        """
