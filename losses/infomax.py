"""InfoMax: mutual information between an image's local and global features.

K. S. Lee, N.-T. Tran, N.-M. Cheung. "InfoMax-GAN: Improved Adversarial Image Generation via
Information Maximization and Contrastive Learning", WACV 2021, arXiv 2007.04589. The contrastive
form is that of R. D. Hjelm et al., "Learning deep representations by mutual information estimation
and maximization" (Deep InfoMax), ICLR 2019, arXiv 1808.06670.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.losses.term import Attachable, Step, Term
from saddlepoint.losses.total import total
from saddlepoint.ranks import of_all_ranks, rank_and_count
from saddlepoint.schema import Size, checked

#: What stands in for the score of an image's other positions, which are no negatives.
MASKS = {"soft": -10.0, "exact": -torch.inf}


def info_nce(scores: Tensor, *, first: int = 0, mask: str = "soft") -> Tensor:
    """Contrastive loss: each image's global feature picks out its own local features.

    With s(i, j, p) the score of image i's global feature against position p of image j, the anchor
    (i, p) has the loss

        -s(i, i, p) + log( exp s(i, i, p) + sum_{j != i} sum_q exp s(i, j, q) + L exp(mask) )

    and anchors are averaged. The sum over negatives is the same for all positions of an image: it
    is taken once, and no (n, L, 1 + m L) logits are ever made.

    Args:
        scores: (n, m, L), of the global features of n images against the L positions of m images.
        first: the n images are number first .. first + n - 1 of the m.
        mask: "soft" overwrites the scores of an image's other positions by -10 (the published
            form), "exact" leaves them out.

    Returns:
        Scalar in (0, inf): log(1 + (m - 1) L + L exp(-10)) where all scores are 0. With one image
        and the exact mask there is nothing to tell apart, and the loss is 0.
    """
    n, m, _ = scores.shape
    own = torch.eye(n, m, dtype=torch.bool, device=scores.device).roll(first, dims=1)
    negatives = scores.masked_fill(own[:, :, None], MASKS[mask]).logsumexp((1, 2))
    positives = scores.diagonal(first)  # (L, n)
    return F.softplus(negatives - positives).mean()  # -log( e^s / (e^s + e^negatives) )


class ProjectionHead(nn.Module):
    """y = V relu(U x) + W x, with biases: to the space where local and global features meet.

    Args:
        new_layer: makes a layer to a given number of channels.
        channels: of x, and of the hidden layer.
        projection: R, channels of y.
    """

    def __init__(
        self, new_layer: Callable[[int], nn.Linear | nn.Conv2d], channels: int, projection: int
    ) -> None:
        super().__init__()
        self.hidden = new_layer(channels)
        self.output = new_layer(projection)
        self.shortcut = new_layer(projection)

    def forward(self, features: Tensor) -> Tensor:
        """Project (n, c, ...) to (n, R, ...)."""
        return self.output(F.relu(self.hidden(features))) + self.shortcut(features)

    def linear_part(self) -> tuple[Tensor, Tensor]:
        """A (R, 2 c) and b (R,) of y = A z + b, with z = (relu(U x), x)."""
        layers = self.output, self.shortcut
        weight = torch.cat([layer.weight for layer in layers], dim=1).flatten(1)
        return weight, total(layer.bias for layer in layers if layer.bias is not None)


class InfoMax(Term):
    """InfoNCE between local map and pooled vector, on reals for one player, fakes for the other.

    Both players minimise it: the discriminator keeps features that tell reals apart (against
    forgetting), the generator makes fakes that can be told apart (against mode collapse). It needs
    no view of its own. Scores are plain dot products, neither normalised nor scaled; so they, the
    loss and its best weight depend on the batch size (64 in all published runs).

    Args:
        discriminator_weight: beta of the paper; 0.2 in every published run.
        generator_weight: alpha of the paper; 0.2 in every published run.
        projection: R, dimension of the common space; 1024 in every published run.
        mask: "soft" (published) or "exact", see `info_nce`.
        gather_negatives: with several processes, whether negatives come from all of them. The loss
            is then that of one process with the whole batch; by default each has its own.
    """

    @checked
    def __init__(
        self,
        discriminator_weight: float = 0.2,
        generator_weight: float = 0.2,
        projection: Size = 1024,
        mask: Literal["soft", "exact"] = "soft",
        gather_negatives: bool = False,
    ) -> None:
        super().__init__(discriminator_weight, generator_weight)
        self.projection = projection
        self.mask = mask
        self.gather_negatives = gather_negatives

    def attach(self, discriminator: Attachable) -> None:
        """Add the two heads, of layers like the discriminator's own."""
        self.local_head = ProjectionHead(
            discriminator.new_local_head, discriminator.local_channels, self.projection
        )
        self.global_head = ProjectionHead(
            discriminator.new_head, discriminator.pooled_features, self.projection
        )

    def discriminator_loss(self, step: Step) -> Tensor:
        """InfoNCE of the reals."""
        return self._info_nce(step.seen["real"])

    def generator_loss(self, step: Step) -> Tensor:
        """InfoNCE of the fakes."""
        return self._info_nce(step.seen["fake"])

    def scores(self, pooled: Tensor, local: Tensor) -> Tensor:
        """Dot products of projected features, s(i, j, p) = <m_i, l_j(p)>.

        The local head is linear in z = (relu(U x), x), so that with l = A z + b

            <m_i, l_j(p)> = <A^T m_i, z_j(p)> + <m_i, b>

        and the R-dimensional local projections, the largest tensor and most of the work, need not
        be computed.

        Args:
            pooled: vectors (n, d).
            local: maps (n, c, h, w).

        Returns:
            (n, m, h w), where m is n, or the images of all ranks if negatives are gathered.
        """
        head = self.local_head
        inputs = torch.cat([F.relu(head.hidden(local)), local], dim=1).flatten(2)
        weight, bias = head.linear_part()
        projected = self.global_head(pooled)
        if self.gather_negatives:
            inputs = of_all_ranks(inputs)
        scores = torch.einsum("ic,jcp->ijp", projected @ weight, inputs)
        return scores + (projected @ bias)[:, None, None]

    def _info_nce(self, features: Any) -> Tensor:
        first = rank_and_count()[0] * len(features.pooled) if self.gather_negatives else 0
        scores = self.scores(features.pooled, features.local)
        return info_nce(scores, first=first, mask=self.mask)
