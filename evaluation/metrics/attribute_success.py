"""Whether an edit gives an image the attributes asked for, and leaves it all others."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.pairs import PairMetric, as_bytes
from saddlepoint.items import Items
from saddlepoint.records.record import LARGER, SMALLER

SUCCESS, COLLATERAL, JUDGE = "attribute success", "collateral change", "judge accuracy"


class AttributeSuccess(PairMetric):
    """What an independent classifier of the data's attributes says of outputs.

    - attribute success: share of pairs of which all attributes asked for are told; and by direction
      of each attribute, "add glasses" and "remove glasses", for pairs that are asked for that. What
      takes the place of another in a group of exclusive ones is added.
    - collateral change: share of the other attributes that are told otherwise of the output than of
      its input.
    - judge accuracy: share of attributes that are told rightly of the inputs; a success beyond it
      says little. No score of a generator, it has no direction.

    Args:
        extractor: name of one of the protocol's ``extractors``; None takes the main one. It has to
            tell the data's attributes: `extractors.data_classifier.DataClassifier`.
    """

    name: ClassVar[str] = "attribute_success"
    directions: ClassVar[dict[str, str | None]] = {
        SUCCESS: LARGER,
        COLLATERAL: SMALLER,
        JUDGE: None,
    }
    ranks: ClassVar[tuple[str, ...]] = (SUCCESS,)
    leads: ClassVar[bool] = True
    looks: ClassVar[bool] = True
    needs = ("image", "attributes", "wanted")

    def __init__(self, extractor: str | None = None) -> None:
        self.extractor = extractor
        self._attributes: tuple[str, ...] = ()

    def direction(self, value: str) -> str | None:
        """The success in one direction is as good as it is large, too."""
        return self.directions.get(value, LARGER)

    def check(self, data: Any, num_fake: int) -> None:
        """Attributes are needed."""
        self._attributes = tuple(data.spec.attributes)
        if not self._attributes:
            raise UserError(
                f"{self.name} asks for attributes and {data.spec.name} has none: leave it out."
            )

    def prepare(self, data: Any, device: torch.device) -> None:
        """The network has to tell these very attributes."""
        if self.network.attributes != self._attributes:
            raise UserError(
                f"{self.network.name} does not tell the attributes of {data.spec.name}: let"
                f" extractors.{self.extractor} be a saddlepoint.extractors.data_classifier"
                ".DataClassifier."
            )

    def values(self, output: Tensor, inputs: Items) -> dict[str, Tensor]:
        """1 and 0 of each pair, and NaN where it is not asked."""
        own, wanted = inputs.attributes > 0.5, inputs.wanted > 0.5
        after, before = self._told(as_bytes(output)), self._told(as_bytes(inputs.image))
        asked = own != wanted
        right = (after == wanted) | ~asked
        found = {SUCCESS: _where(right.all(1), asked.any(1))}
        # Of a group of exclusive attributes one is put on while another is taken off.
        only_off = asked.any(1) & ~(asked & wanted).any(1)
        for number, name in enumerate(self._attributes):
            told_right = after[:, number] == wanted[:, number]
            put_on = asked[:, number] & wanted[:, number]
            found[f"add {name}"] = _where(told_right, put_on)
            found[f"remove {name}"] = _where(told_right, asked[:, number] & only_off)
        others = (~asked).double()
        found[COLLATERAL] = ((after != before) * others).sum(1) / others.sum(1)
        found[JUDGE] = (before == own).double().mean(1)
        return found

    def summary(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Nothing without any pair that asks for something."""
        found = super().summary(values)
        return found if SUCCESS in found else {}

    def _told(self, images: Tensor) -> Tensor:
        return self.network.outputs(images).attributes > 0


def _where(values: Tensor, there: Tensor) -> Tensor:
    return values.double().where(there, torch.nan)
