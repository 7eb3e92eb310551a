"""Metrics of pairs: each output beside the input it was made from."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from saddlepoint.datamodules.pixels import to_uint8
from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.double import device_with_double
from saddlepoint.evaluation.metrics.metric import Metric
from saddlepoint.evaluation.ranks import from_all_ranks
from saddlepoint.extractors.extractor import Extractor
from saddlepoint.items import Items
from saddlepoint.schema import checked

#: Where images are compared: everywhere, or where the mask is 1 or 0.
Region = Literal["image", "inside", "outside"]


class PairMetric(Metric):
    """A metric of outputs and inputs, pair by pair.

    Attributes:
        needs: names of the inputs' fields that it reads; beside those that a generator is fed, what
            `evaluation.edits.told` knows of edits.
        extractor: name of one of the protocol's ``extractors``, for one that looks through a
            network; None takes the main one.
        network: that extractor, once it is loaded.
    """

    #: Whether it looks at images through an extractor.
    looks: ClassVar[bool] = False
    needs: tuple[str, ...] = ("image",)
    extractor: str | None = None
    network: Extractor

    def prepare(self, data: Any, device: torch.device) -> None:  # noqa: B027 - few need it
        """Take in what depends on no output, once ``network`` is there.

        Args:
            data: a data module, see `datamodules.base.DataModule`.
            device: where to compute.

        Raises:
            UserError: the network cannot tell what is asked.
        """

    def check(self, data: Any, num_fake: int) -> None:  # noqa: B027 - few need it
        """Find out in a moment whether the score can be had.

        Args:
            data: a data module, see `datamodules.base.DataModule`.
            num_fake: outputs that will be used.

        Raises:
            UserError: the data lack what the metric needs.
        """

    @abstractmethod
    def values(self, output: Tensor, inputs: Items) -> dict[str, Tensor]:
        """Values of each pair, {name: (n,) or (n, ...)}; NaN where a pair has nothing to compare.

        Args:
            output: (n, *shape), uint8 or float in [-1, 1].
            inputs: what each was made from, on the same device; has the fields in `needs`.
        """

    def over_pairs(self, value: Tensor) -> Tensor:
        """One number () from a value (N,) of all pairs: their mean, unless a metric differs."""
        return value.mean()

    def summary(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Values over all pairs from those of each; what no pair has is left out."""
        found = {}
        for name, value in values.items():
            there = value[~value.isnan().reshape(len(value), -1).any(1)]
            if len(there):
                found[name] = self.over_pairs(there).item()
        return found


class Comparison(PairMetric):
    """A metric of how like outputs are to images that they should be like.

    Args:
        region: "image", or "inside" or "outside" the mask; the score's name says which.
        reference: field of the inputs that outputs are compared with; "truth" is that of an edit.

    Attributes:
        measure: what the value is called, without region and reference.
        better: which values are, "larger" or "smaller".
        smallest: pixels that a side of the images has to have.
    """

    measure: ClassVar[str]
    better: ClassVar[str]
    smallest: ClassVar[int] = 1

    @checked
    def __init__(self, region: Region = "image", reference: str = "image") -> None:
        self.region, self.reference = region, reference
        self.value = name_of(self.measure, region, reference)
        self.directions = {self.value: self.better}
        self.needs = fields_of(region, reference)

    def check(self, data: Any, num_fake: int) -> None:
        """Items have to be images, and large enough."""
        shape = data.spec.shape
        if len(shape) != 3 or min(shape[1:]) < self.smallest:
            size = f" of at least {self.smallest} pixels a side" if self.smallest > 1 else ""
            raise UserError(
                f"{self.name} compares images{size} and {data.spec.name} has items of shape"
                f" {tuple(shape)}: leave it out."
            )


class PairValues:
    """What a metric says of the pairs so far, in their order; a few bytes a pair."""

    def __init__(self, metric: PairMetric) -> None:
        self.metric = metric
        self._parts: list[dict[str, Tensor]] = []

    def update(self, output: Tensor, inputs: Items) -> None:
        """Take in a batch, without waiting for the device."""
        device = device_with_double(output.device)
        values = self.metric.values(output.to(device), inputs.to(device))
        self._parts.append({name: value.double() for name, value in values.items()})

    def merge_ranks(self) -> None:
        """Put the parts of all ranks one after the other; a rank may be without pairs."""
        self._parts = [part for part in from_all_ranks(self._joined()) if part]

    def compute(self) -> dict[str, float]:
        """Values over all pairs that have something to compare.

        Raises:
            UserError: none has.
        """
        values = self._joined()
        found = self.metric.summary(values)
        if not found:
            raise UserError(
                f"{self.metric.name} finds nothing to compare in any of"
                f" {len(next(iter(values.values()))):,} pairs: look at their masks."
            )
        return found

    def _joined(self) -> dict[str, Tensor]:
        names = self._parts[0] if self._parts else ()
        return {name: torch.cat([part[name] for part in self._parts]) for name in names}


def name_of(value: str, region: str = "image", reference: str = "image") -> str:
    """What a value is called: "PSNR", "PSNR inside", "PSNR inside of truth"."""
    words = [value, *[region] * (region != "image"), *["of", reference] * (reference != "image")]
    return " ".join(words)


def fields_of(region: str, reference: str) -> tuple[str, ...]:
    """Fields that are read to compare with a reference in a region."""
    return (reference, *["mask"] * (region != "image"))


def as_bytes(images: Tensor) -> Tensor:
    """Images in 8 bits: uint8 as they are, float in [-1, 1] rounded."""
    return images if images.dtype == torch.uint8 else to_uint8(images)


def weights_of_region(region: str, images: Tensor, inputs: Items) -> Tensor:
    """1 where images (n, c, h, w) are compared and 0 elsewhere, of their shape, float64."""
    if region == "image":
        return torch.ones_like(images, dtype=torch.float64)
    inside = (inputs.mask >= 0.5).expand_as(images)
    return (inside if region == "inside" else ~inside).double()


def mean_over_region(values: Tensor, weights: Tensor) -> Tensor:
    """Mean (n,) of values (n, c, h, w) by their weights; NaN where these are all 0."""
    total = weights.flatten(1).sum(1)
    return (values.double() * weights).flatten(1).sum(1) / total
