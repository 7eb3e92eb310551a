"""The Inception Score of generated images.

T. Salimans, I. Goodfellow, W. Zaremba, V. Cheung, A. Radford, X. Chen, "Improved Techniques for
Training GANs", NeurIPS 2016, section 4: with class probabilities p of an image and their mean q
over the images,

    IS = exp(mean of KL(p || q)) = exp(mean of sum_j p_j log p_j - sum_j q_j log q_j).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.double import device_with_double
from saddlepoint.evaluation.metrics.metric import Batch, Collector, SetMetric
from saddlepoint.evaluation.ranks import from_all_ranks
from saddlepoint.records.record import LARGER
from saddlepoint.schema import Count, Natural, checked


class InceptionScore(SetMetric):
    """Mean and standard deviation of the Inception Score over parts of the generated images.

    Parts are those of torch-fidelity, for the same number of images.

    Args:
        splits: number of parts.
        shuffle: whether parts are drawn at random; consecutive images otherwise.
        rng_seed: of that draw.
        settings: of `SetMetric`.
    """

    name: ClassVar[str] = "inception_score"
    directions: ClassVar[dict[str, str | None]] = {"IS": LARGER, "IS_std": None}
    needs_logits: ClassVar[bool] = True

    @checked
    def __init__(
        self, splits: Count = 10, shuffle: bool = True, rng_seed: Natural = 2020, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.splits = splits
        self.shuffle = shuffle
        self.rng_seed = rng_seed

    def check(self, data: Any, num_real: int, num_fake: int) -> None:
        """Every part needs an image."""
        if num_fake < self.splits:
            raise UserError(
                f"inception_score needs at least one generated image for each of {self.splits}"
                f" splits and num_fake is {num_fake}: set num_fake to far more, or"
                " inception_score.splits to less."
            )

    def of_fakes(self, count: int, device: torch.device) -> dict[str, Collector]:
        """Sums over each part."""
        order = np.arange(count)
        if self.shuffle:
            order = np.random.RandomState(self.rng_seed).permutation(count)  # noqa: NPY002
        bounds = [part * count // self.splits for part in range(self.splits + 1)]
        part_of = np.empty(count, dtype=np.int64)
        part_of[order] = np.repeat(np.arange(self.splits), np.diff(bounds))
        return {"class probabilities": ProbabilitySums(torch.from_numpy(part_of), device)}

    def compute(
        self, real: Mapping[str, Collector], fake: Mapping[str, Collector]
    ) -> dict[str, float]:
        """IS, the mean over parts, and IS_std, their standard deviation."""
        sums = {k: v.cpu().numpy() for k, v in fake["class probabilities"].state().items()}
        mean = sums["sum of p"] / sums["count"][:, None]
        logarithm = np.log(mean, out=np.zeros_like(mean), where=mean > 0)
        divergence = sums["sum of p log p"] / sums["count"] - (mean * logarithm).sum(1)
        scores = np.exp(divergence)
        return {"IS": float(scores.mean()), "IS_std": float(scores.std())}


class ProbabilitySums(Collector):
    """What the Inception Score needs of each part; memory hardly grows with the images.

    Args:
        part_of: (N,) int64, the part that the image at each position belongs to.
        device: where to accumulate; the CPU stands in for devices without float64.
    """

    def __init__(self, part_of: Tensor, device: torch.device) -> None:
        self.device = device_with_double(device)
        self.part_of = part_of.to(self.device)
        self.parts = torch.arange(int(part_of.max()) + 1, device=self.device)
        self._sums: dict[str, Tensor] = {}

    def update(self, batch: Batch) -> None:
        """Add the probabilities to those of their parts."""
        logarithm = batch.logits.to(self.device).double().log_softmax(1)
        probabilities = logarithm.exp()
        parts = self.part_of[batch.start : batch.start + len(logarithm)]
        # A product where index_add_ would be as short: on CUDA that adds in no fixed order.
        chosen = (self.parts[:, None] == parts).double()
        self._add(
            {
                "count": chosen.sum(1),
                "sum of p": chosen @ probabilities,
                "sum of p log p": chosen @ (probabilities * logarithm).sum(1),
            }
        )

    def merge_ranks(self) -> None:
        """Add the sums of all ranks; a rank may be without images."""
        states = from_all_ranks(self._sums)
        if len(states) == 1:
            return
        self._sums = {}
        for state in filter(None, states):
            self._add({name: tensor.to(self.device) for name, tensor in state.items()})

    def state(self) -> dict[str, Tensor]:
        """Of each part: images (s,), sum of p (s, k), and sum of sum_j p_j log p_j (s,)."""
        return dict(self._sums)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Become what had this state."""
        self._sums = {name: tensor.to(self.device) for name, tensor in state.items()}

    def _add(self, sums: dict[str, Tensor]) -> None:
        self._sums = {
            name: self._sums[name] + more if self._sums else more for name, more in sums.items()
        }
