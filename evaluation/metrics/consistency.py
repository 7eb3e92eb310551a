"""Whether samples show the conditions they were asked for, by the encoder that made these."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.pairs import PairMetric, as_bytes
from saddlepoint.items import Items
from saddlepoint.records.record import LARGER

BATCH = 256


class Consistency(PairMetric):
    """Share of samples that the encoder and the nearest centre give to the cluster asked for.

    A feature or a soft assignment asks for the cluster that it belongs to. Beside it stands the
    same for held-out reals, where the data have some, as a ceiling: such an image is given what the
    training image nearest to it asks for.
    """

    name: ClassVar[str] = "consistency"
    directions: ClassVar[dict[str, str | None]] = {
        "consistency": LARGER,
        "consistency of held-out reals": None,
    }
    needs = ("condition",)

    def __init__(self) -> None:
        self._data: Any = None
        self._ceiling: float | None = None

    def definition(self) -> dict[str, Any]:
        """What says which cluster an image belongs to, once the data are known."""
        return {} if self._data is None else {"clusters": self._data.assigner.fingerprint}

    def check(self, data: Any, num_fake: int) -> None:
        """There have to be conditions of a representation."""
        if getattr(data, "assigner", None) is None:
            raise UserError(
                "consistency needs a run whose conditions come from a representation, such as"
                " gan=latent_conditioned: leave that score out."
            )
        self._data = data
        data.assigner.load("cpu")

    def values(self, output: Tensor, inputs: Items) -> dict[str, Tensor]:
        """1 for a sample of the cluster asked for, 0 for another."""
        assigner = self._data.assigner
        assigner.to(output.device)
        found = assigner.assign(assigner.vectors(as_bytes(output)))
        values = {"consistency": (found == self._data.cluster_of(inputs.condition)).double()}
        if self._data.held_out is not None:
            if self._ceiling is None:
                self._ceiling = self._of_held_out(output.device)
            ceiling = torch.full_like(values["consistency"], self._ceiling)
            values["consistency of held-out reals"] = ceiling
        return values

    def _of_held_out(self, device: torch.device) -> float:
        hits = []
        for items in self._data.held_out.real_batches(BATCH):
            vectors = self._data.assigner.vectors(items.image.to(device))
            expected = self._data.ids[self._data.nearest_items(vectors.cpu(), 1)[:, 0]]
            hits.append(self._data.assigner.assign(vectors).cpu() == expected)
        return torch.cat(hits).double().mean().item()
