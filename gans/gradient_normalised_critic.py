"""A critic whose logit is divided by its own size and that of its gradient.

Y.-L. Wu, H.-H. Shuai, Z.-R. Tam, H.-Y. Chiu. "Gradient Normalization for Generative Adversarial
Networks", ICCV 2021, arXiv 2109.02235.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.gans.critic import Critic, Network
from saddlepoint.gans.networks.discriminator import Features, Head
from saddlepoint.items import Items


def normalise_by_gradient(logits: Tensor, images: Tensor) -> Tensor:
    """D^(x) = D(x) / (|D(x)| + ||grad_x D(x)||), in (-1, 1).

    D^ is that of every positive multiple of D, and where D is piecewise linear its gradient has the
    norm (g / (g + |D|))^2 <= 1, with g that of D's. It can be differentiated with respect to the
    parameters behind D and, where the images depend on some, to those behind the images.

    Args:
        logits: D(x) (n, 1), each of its own image alone.
        images: x (n, *shape) that the logits were computed from, requiring gradients.
    """
    (gradients,) = torch.autograd.grad(
        logits.sum(), images, create_graph=True, materialize_grads=True
    )
    norms = torch.linalg.vector_norm(gradients.flatten(1), dim=1, keepdim=True)
    sizes = logits.abs() + norms
    return logits / sizes.where(sizes > 0, 1)  # a critic that is 0 everywhere stays so


class GradientNormalisedCritic(Critic[Network]):
    """A critic that looks with D^ in place of D, see `normalise_by_gradient`.

    A conditional D is normalised whole, its projection included; of a map of logits it is the mean
    that is. Features are those of D, and what heads of terms make of them is not normalised. All
    passes are in float32, as everywhere where input gradients matter.

    Args:
        network: the discriminator D; the game trains it.
        autocast: not used.
        joint_views: whether one pass looks at all views together.

    Raises:
        UserError: D has batch norm, so that a logit has no gradient of its own image alone.
    """

    def __init__(
        self,
        network: Network,
        autocast: Callable[[], AbstractContextManager],
        *,
        joint_views: bool = True,
    ) -> None:
        if network.mixes_samples:
            raise UserError(
                "Gradient normalisation needs a discriminator without batch norm, which mixes"
                " samples: set network.discriminator.batch_norm=false or choose another network."
            )
        super().__init__(network, nullcontext, joint_views=joint_views)

    def look(self, views: Mapping[str, Items]) -> dict[str, Features]:
        """Features of every view, float32, with logits D^ (n, 1)."""
        with torch.enable_grad():
            return super().look(views)

    def logit(
        self, images: Tensor, condition: Tensor | None = None, head: Head | None = None
    ) -> Tensor:
        """D^ (n, 1), or what ``head`` makes of the features in its place, normalised too."""
        with torch.enable_grad():
            images = _requiring_gradients(images)
            return normalise_by_gradient(super().logit(images, condition, head), images)

    def _judge(self, view: Items) -> Features:
        images = _requiring_gradients(view.image)
        features = super()._judge(view.but(image=images))
        logits = features.logits.flatten(1).mean(1, keepdim=True)
        return features._replace(logits=normalise_by_gradient(logits, images))


def _requiring_gradients(images: Tensor) -> Tensor:
    """The images themselves where they depend on parameters, else a leaf of their values."""
    return images if images.requires_grad else images.detach().requires_grad_()
