"""What a metric is: one file with one class, which settings name by its ``_target_``.

There are metrics of *sets*, which compare the features of real and of generated images (`SetMetric`
here), and metrics of *pairs*, which compare each output with the input it was made from
(`evaluation.metrics.pairs`).

The images of a side pass through an extractor once. Each metric of sets names the collectors it
needs; metrics of one extractor that name the same one share it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from saddlepoint.schema import settings_of


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

    What moves its values is an *option*: an argument of the constructor, kept as an attribute of
    the same name. Whatever else an object keeps is its own affair and enters no protocol.
    """

    #: Stands in protocols; a class that declares none goes by its module and its own name.
    name: ClassVar[str]
    #: Which way each value is better, ``SMALLER`` or ``LARGER`` of `records.record`; None for a
    #: value that is no score, such as a spread.
    directions: Mapping[str, str | None]
    #: Values that runs may be ranked by; None for all that have a direction.
    ranks: ClassVar[tuple[str, ...] | None] = None
    #: Whether it ranks runs beside other metrics, and not only where no such metric is there.
    leads: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Give the class a name: never that of the class it is derived from."""
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = f"{cls.__module__}.{cls.__qualname__}"

    def definition(self) -> dict[str, Any]:
        """Options that move the values, as plain values."""
        options: dict[str, Any] = {}
        for name in settings_of(type(self)):
            if not hasattr(self, name):
                raise TypeError(f"{type(self).__name__} does not keep its option: set self.{name}")
            options[name] = getattr(self, name)
        options.pop("extractor", None)  # protocols describe it by its weights
        return options

    def direction(self, value: str) -> str | None:
        """Which way a value of `directions` is better; metrics with values by class know more.

        Raises:
            KeyError: nobody has said.
        """
        return self.directions[value]

    def may_rank(self, value: str) -> bool:
        """Whether runs may be ranked by it."""
        if self.ranks is None:
            return self.direction(value) is not None
        return value in self.ranks


class SetMetric(Metric):
    """A metric of two sets of images, by their features.

    Args:
        extractor: name of one of the protocol's ``extractors``; None takes the main one.
    """

    #: Fields of the data, beside the image, that move its values.
    reads: ClassVar[tuple[str, ...]] = ()
    #: Whether the extractor has to give class probabilities.
    needs_logits: ClassVar[bool] = False
    extractor: str | None = None

    def __init__(self, extractor: str | None = None) -> None:
        self.extractor = extractor

    def check(self, data: Any, num_real: int, num_fake: int) -> None:  # noqa: B027 - few need it
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
        """Values by the names they have under the Inception network of FID.

        Features and logits are finite; that has been checked.

        Args:
            real: full collectors, those of `of_reals` among them.
            fake: full collectors, those of `of_fakes` among them.
        """
