"""Gradient matching: the discriminator's slope is to be the same at fakes as at reals.

N.-T. Tran, T.-A. Bui, N.-M. Cheung. "Improving GAN with Neighbors Embedding and Gradient Matching"
(GN-GAN), AAAI 2019, arXiv 1811.01333.

Where mean scores agree, the next order of a Taylor expansion of the discriminator says that mean
gradients, and mean products of gradient and image, should agree as well. No code of the paper was
released; what the abstract leaves open is an option here.
"""

from typing import Literal

import torch
from torch import Tensor

from saddlepoint.items import Items
from saddlepoint.losses.schedule import Schedule
from saddlepoint.losses.term import Step, Term
from saddlepoint.ranks import mean_of_all_ranks
from saddlepoint.schema import Count, NotNegative, checked


class GradientMatching(Term):
    """m_1 || E g(x) - E g(x_f) ||^2 + m_2 (E[g(x) . x] - E[g(x_f) . x_f])^2,  x_f = G(z).

    g is the gradient of the discriminator's score by its input, in a float32 pass of its own. At
    reals it is a constant; through g(x_f) the generator is differentiated a second time. It goes
    with any adversarial loss; GN-GAN's matches mean scores (`losses.adversarial.ScoreMatching`).

    A network of ReLUs is piecewise linear, so that the gradient of its logit stays as it is while
    x_f moves a little, and the m_1 term gives the generator none; the sigmoid bends it.

    Args:
        generator_weight: weight of the whole.
        gradient_weight: m_1.
        product_weight: m_2.
        score: what is differentiated, the "sigmoid" of the logit or the "logit".
        norm: the squares of the m_1 term are taken the "sum" or the "mean" of, over the values of
            an image.
        every: as of `Term`.
    """

    generator_sees_reals = True

    @checked
    def __init__(
        self,
        generator_weight: float | Schedule = 1.0,
        gradient_weight: NotNegative = 1.0,
        product_weight: NotNegative = 1.0,
        score: Literal["sigmoid", "logit"] = "sigmoid",
        norm: Literal["sum", "mean"] = "sum",
        every: Count = 1,
    ) -> None:
        super().__init__(generator_weight=generator_weight, every=every)
        self.gradient_weight = gradient_weight
        self.product_weight = product_weight
        self.score = score
        self.norm = norm

    def generator_loss(self, step: Step) -> Tensor:
        """The two squares on the reals and fakes of this update."""
        at_reals = self.gradients(step, step.real, differentiable=False)
        at_fakes = self.gradients(step, step.fake, differentiable=True)
        slope = mean_of_all_ranks(at_reals.mean(0) - at_fakes.mean(0)).square()
        slope = slope.sum() if self.norm == "sum" else slope.mean()
        product = _mean_product(at_reals, step.real.image) - _mean_product(
            at_fakes, step.fake.image
        )
        product = mean_of_all_ranks(product)
        return self.gradient_weight * slope + self.product_weight * product.square()

    def gradients(self, step: Step, items: Items, *, differentiable: bool) -> Tensor:
        """G (n, *shape), float32, at images (n, *shape).

        Args:
            step: of the update.
            items: ``image``, and ``condition`` if there is one.
            differentiable: whether g is to be differentiated in turn, by whatever made the images.
        """
        images = items.image
        if not (differentiable and images.requires_grad):
            images = images.detach().requires_grad_()
        with torch.autocast(images.device.type, enabled=False):
            scores = step.logit(images, items.get("condition"))
            if self.score == "sigmoid":
                scores = scores.sigmoid()
            (gradients,) = torch.autograd.grad(
                scores.sum(), images, create_graph=differentiable, materialize_grads=True
            )
        return gradients


def _mean_product(gradients: Tensor, images: Tensor) -> Tensor:
    """E[g(x) . x], a scalar."""
    return (gradients * images).flatten(1).sum(1).mean()
