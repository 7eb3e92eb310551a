"""Whether a translation shows the class that it was asked for."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.pairs import PairMetric, as_bytes
from saddlepoint.items import Items
from saddlepoint.records.record import LARGER

MOST = 5  # of the most likely classes


class TranslationAccuracy(PairMetric):
    """Share of outputs of which a classifier that knows all classes tells the one asked for.

    M.-Y. Liu et al., "Few-Shot Unsupervised Image-to-Image Translation", ICCV 2019, section 4: as
    the most likely one (top-1) or one of the five most likely (top-5), of all classes and, where
    some are kept from training, of those alone ("among targets"; theirs is a second classifier,
    here it is the same). What is certain, five of five classes or fewer, is left out. "class judge
    accuracy" is the share of inputs whose own class it tells, and no score.

    Args:
        extractor: name of one of the protocol's ``extractors``; None takes the main one. It has to
            tell all classes: `extractors.data_classifier.DataClassifier`.
    """

    name: ClassVar[str] = "translation_accuracy"
    directions: ClassVar[dict[str, str | None]] = {
        "top-1": LARGER,
        "top-5": LARGER,
        "top-1 among targets": LARGER,
        "top-5 among targets": LARGER,
        "class judge accuracy": None,
    }
    ranks: ClassVar[tuple[str, ...]] = ("top-1",)
    leads: ClassVar[bool] = True
    looks: ClassVar[bool] = True
    needs = ("image", "label", "target")

    def __init__(self, extractor: str | None = None) -> None:
        self.extractor = extractor

    def check(self, data: Any, num_fake: int) -> None:
        """Classes are needed."""
        if not data.spec.classes:
            raise UserError(
                f"{self.name} asks for classes and {data.spec.name} has none: leave it out."
            )

    def prepare(self, data: Any, device: torch.device) -> None:
        """The network has to tell all of these classes, in whichever order."""
        classes = (data.held_out or data).spec.classes
        known = self.network.classes
        if not set(classes) <= set(known):
            raise UserError(
                f"{self.network.name} does not tell all classes of {data.spec.name}: let"
                f" extractors.{self.extractor} be a saddlepoint.extractors.data_classifier"
                ".DataClassifier."
            )
        self._number = torch.tensor([known.index(name) for name in classes], device=device)
        kept = [number for number, name in enumerate(classes) if name not in data.spec.classes]
        self._targets = torch.tensor(kept, dtype=torch.int64, device=device)

    def values(self, output: Tensor, inputs: Items) -> dict[str, Tensor]:
        """1 and 0 of each pair."""
        logits = self.network(as_bytes(output)).logits[:, self._number]
        found = _hits(logits, inputs.target, "")
        if len(self._targets):
            others = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
            others[self._targets] = False
            among = logits.masked_fill(others, -torch.inf)
            found |= _hits(among, inputs.target, " among targets", len(self._targets))
        own = self.network(as_bytes(inputs.image)).logits[:, self._number].argmax(1)
        return found | {"class judge accuracy": (own == inputs.label).double()}


def _hits(
    logits: Tensor, target: Tensor, among: str, count: int | None = None
) -> dict[str, Tensor]:
    count = logits.shape[1] if count is None else count
    ranked = logits.topk(min(MOST, logits.shape[1]), dim=1).indices == target[:, None]
    found = {"top-1": ranked[:, :1]} | ({"top-5": ranked} if count > MOST else {})
    return {f"{name}{among}": hits.any(1).double() for name, hits in found.items()}
