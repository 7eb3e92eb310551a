"""Rotation self-supervision: which way up is this image?

T. Chen, X. Zhai, M. Ritter, M. Lucic, N. Houlsby. "Self-Supervised GANs via Auxiliary Rotation
Loss", CVPR 2019, arXiv 1811.11212.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.items import Items
from saddlepoint.losses.term import Attachable, Step, Term
from saddlepoint.ranks import rank_and_count
from saddlepoint.schema import checked


def rotate(images: Tensor, quarters: int) -> Tensor:
    """Turn images (n, c, h, w) counter-clockwise by ``quarters`` of 90 degrees, exactly."""
    return torch.rot90(images, quarters, dims=(-2, -1))


def rotation_labels(n: int, device: torch.device) -> Tensor:
    """Angle index of each of n images: consecutive quarters of a batch turn by 0, 90, 180, 270.

    The batch is that of all ranks, and the n images are this rank's part of it.
    """
    rank, count = rank_and_count()
    return torch.arange(rank * n, (rank + 1) * n, device=device) * 4 // (count * n)


def rotate_by_quarters(images: Tensor) -> Tensor:
    """Turn image i of a batch of n by ``floor(4 i / n)`` quarters; the order is kept."""
    rank, count = rank_and_count()
    first, batch = rank * len(images), count * len(images)
    # Image i turns by k quarters from i = ceil(k batch / 4) on.
    starts = [min(max(-(-k * batch // 4) - first, 0), len(images)) for k in range(5)]
    sizes = [end - start for start, end in itertools.pairwise(starts)]
    upright, *others = images.split(sizes)
    return torch.cat([upright, *(rotate(part, k) for k, part in enumerate(others, start=1))])


class Rotation(Term):
    """SSGAN's auxiliary task: both players want rotations to be recognised.

    The discriminator learns the angle of rotated *reals*, the generator makes fakes whose angle the
    discriminator recognises. Rotated images never enter the adversarial loss, and the rotation head
    never learns from fakes. Each image is shown at one angle (the form of the published runs).

    Args:
        discriminator_weight: beta of the paper; 1.0 in every published run.
        generator_weight: alpha of the paper; 0.2 in every published run.
    """

    @checked
    def __init__(self, discriminator_weight: float = 1.0, generator_weight: float = 0.2) -> None:
        super().__init__(discriminator_weight, generator_weight)

    def attach(self, discriminator: Attachable) -> None:
        """Add a second output layer: pooled features (n, d) to 4 angle logits."""
        self.head = discriminator.new_head(4)

    def discriminator_views(self, step: Step) -> dict[str, Items]:
        """The reals, a quarter of the batch at each angle."""
        return {"rotated real": _rotated(step.real)}

    def discriminator_loss(self, step: Step) -> Tensor:
        """Cross-entropy of the angles of rotated reals."""
        return self._cross_entropy(step.seen["rotated real"].pooled)

    def generator_views(self, step: Step) -> dict[str, Items]:
        """The fakes, a quarter of the batch at each angle."""
        return {"rotated fake": _rotated(step.fake)}

    def generator_loss(self, step: Step) -> Tensor:
        """Cross-entropy of the angles of rotated fakes."""
        return self._cross_entropy(step.seen["rotated fake"].pooled)

    def _cross_entropy(self, pooled: Tensor) -> Tensor:
        return F.cross_entropy(self.head(pooled), rotation_labels(len(pooled), pooled.device))


def _rotated(items: Items) -> Items:
    return items.but(image=rotate_by_quarters(square(items.image)))


def square(images: Tensor) -> Tensor:
    """Pass images (n, c, h, h) on; refuse others, which cannot be turned in place."""
    if images.ndim != 4 or images.shape[-1] != images.shape[-2]:
        raise UserError(
            f"The rotation term needs square images, and these have shape"
            f" {tuple(images.shape[1:])}: leave it out of terms=[...], or crop them to squares."
        )
    return images
