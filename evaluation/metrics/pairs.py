"""Metrics of pairs: each output beside the input it was made from, without any features."""

from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor

from saddlepoint.datamodules.pixels import to_uint8
from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.double import device_with_double
from saddlepoint.evaluation.metrics.metric import Metric
from saddlepoint.evaluation.ranks import from_all_ranks
from saddlepoint.items import Items

#: Where images are compared: everywhere, or where the mask is 1 or 0.
Region = Literal["image", "inside", "outside"]


class PairMetric(Metric):
    """A metric of outputs and inputs, pair by pair.

    Attributes:
        needs: names of the inputs' fields that it reads.
    """

    needs: tuple[str, ...] = ("image",)

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
        """Values of each pair, {name: (n,)}; NaN for a pair that has nothing to compare.

        Args:
            output: (n, *shape), uint8 or float in [-1, 1].
            inputs: what each was made from, on the same device; has the fields in `needs`.
        """

    def over_pairs(self, value: Tensor) -> Tensor:
        """One number () from a value (N,) of all pairs: their mean, unless a metric differs."""
        return value.mean()


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
        found = {}
        for name, value in self._joined().items():
            there = value[~value.isnan()]
            if not len(there):
                raise UserError(
                    f"{self.metric.name} finds nothing to compare in any of {len(value):,} pairs:"
                    " look at their masks."
                )
            found[name] = self.metric.over_pairs(there).item()
        return found

    def _joined(self) -> dict[str, Tensor]:
        names = self._parts[0] if self._parts else ()
        return {name: torch.cat([part[name] for part in self._parts]) for name in names}


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
