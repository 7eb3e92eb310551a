"""SimCLR: two views of one image find each other among all others of the batch.

T. Chen, S. Kornblith, M. Norouzi, G. Hinton. "A Simple Framework for Contrastive Learning of Visual
Representations", ICML 2020, arXiv 2002.05709.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.representations.method import RepresentationMethod
from saddlepoint.schema import Positive, Size, checked


class SimCLR(RepresentationMethod):
    """NT-Xent on the outputs of a projector; the features are what the projector reads.

    Args:
        temperature: tau.
        projection: outputs of the projector.
        schedule: of the learning rate, see `RepresentationMethod`.
        settings: of `RepresentationMethod`.
    """

    name: ClassVar[str] = "simclr"
    views: ClassVar[int] = 2
    default_optimizer = partial(torch.optim.Adam, lr=1e-3, weight_decay=1e-6)

    @checked
    def __init__(
        self,
        *,
        temperature: Positive = 0.5,
        projection: Size = 128,
        schedule: Literal["constant", "cosine"] = "cosine",
        **settings: Any,
    ) -> None:
        super().__init__(schedule=schedule, **settings)
        self.temperature, self.projection = temperature, projection

    def build_heads(self) -> None:
        """A hidden layer as wide as the features, and the outputs."""
        self.projector = nn.Sequential(
            nn.Linear(self.features, self.features),
            nn.ReLU(),
            nn.Linear(self.features, self.projection),
        )

    def loss(self, views: Sequence[Tensor], items: Tensor) -> dict[str, Tensor]:
        """NT-Xent of both views, which pass the encoder together."""
        first, second = self.projector(self.encode(torch.cat(list(views)))).chunk(2)
        return {"nt_xent": nt_xent(first, second, self.temperature)}


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Equation 1 of the paper, the mean over both views (n, d) of n images.

    l_ij = -log(exp(s_ij / tau) / sum over k != i of exp(s_ik / tau)), where s is the cosine and j
    the other view of i.
    """
    both = F.normalize(torch.cat([first, second]).float(), dim=1)
    scores = both @ both.mT / temperature
    scores.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(both), device=both.device).roll(len(first))
    return F.cross_entropy(scores, partner)
