"""Penalties on the gradient of a discriminator's logit with respect to its input.

Below, g(x) is that gradient for one sample x, and x^ = alpha x + (1 - alpha) G(z) with one alpha
from U(0, 1) per pair lies on a line between a real and a fake.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.items import Items
from saddlepoint.losses.schedule import Schedule
from saddlepoint.losses.term import Attachable, Logit, Step, Term
from saddlepoint.randomness import Draws
from saddlepoint.schema import Count, checked

#: Maps samples (n, *shape) to logits (n, 1), each of its own sample alone (no batch norm).
Score = Callable[[Tensor], Tensor]


def input_gradient(score: Score, samples: Tensor) -> Tensor:
    """Gradient (n, *shape), float32, of every sample's logit with respect to that sample.

    It can be differentiated in turn, with respect to the parameters behind ``score``. The samples
    themselves are taken as constants. A score that ignores its input has gradient 0.
    """
    samples = samples.detach().float().requires_grad_()
    with torch.enable_grad():
        logits = score(samples)
        if not logits.requires_grad:
            return torch.zeros_like(samples)
        gradients = torch.autograd.grad(
            logits.sum(), samples, create_graph=True, materialize_grads=True
        )
    return gradients[0].float()


def interpolates(real: Tensor, fake: Tensor, draws: Draws) -> Tensor:
    """x^ = alpha x + (1 - alpha) G(z) of pairs (n, *shape), alpha from U(0, 1) per pair."""
    alpha = draws.uniform(len(real), *[1] * (real.ndim - 1))
    return alpha * real + (1 - alpha) * fake


def one_centred(gradients: Tensor, norm: str = "l2", weight: Tensor | None = None) -> Tensor:
    """E (||weight g|| - 1)^2 of gradients (n, *shape).

    Args:
        gradients: may be exactly 0, where the derivative of the norm is taken to be 0.
        norm: "l2", or "rms" for ||g||_2 / sqrt(d) with d the size of a sample.
        weight: broadcasts to the gradients; a mask leaves out what real and fake have in common.
    """
    if weight is not None:
        gradients = gradients * weight
    gradients = gradients.flatten(1)
    norms = torch.linalg.vector_norm(gradients, dim=1)
    if norm == "rms":
        norms = norms / gradients.shape[1] ** 0.5
    return (norms - 1).square().mean()


def zero_centred(gradients: Tensor) -> Tensor:
    """E ||g||_2^2 of gradients (n, *shape)."""
    return gradients.flatten(1).square().sum(1).mean()


class GradientPenalty(Term, ABC):
    """Base class: the discriminator minimises `penalty`, computed in a float32 pass of its own.

    Args:
        discriminator_weight: weight of the penalty.
        every: it counts in every so-manieth iteration only, and that many times as much.

    Raises:
        UserError: on attaching to a discriminator with batch norm, where a logit has no gradient
            of its own sample alone.
    """

    is_penalty: ClassVar[bool] = True
    #: Whose condition the samples have that the penalty looks at: "real" or "fake".
    condition_of: ClassVar[str] = "real"

    @checked
    def __init__(self, discriminator_weight: float | Schedule = 10.0, every: Count = 1) -> None:
        super().__init__(discriminator_weight, every=every)

    def attach(self, discriminator: Attachable) -> None:
        """Make no heads, but refuse batch norm."""
        if discriminator.mixes_samples:
            raise UserError(
                "A gradient penalty needs a discriminator without batch norm, which mixes samples:"
                " set network.discriminator.batch_norm=false or choose network=resnet."
            )

    def discriminator_loss(self, step: Step) -> Tensor:
        """The penalty on the reals and fakes of this update."""
        return self.between(step.real, step.fake, step.logit, step.draws)

    def forward(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        """The penalty, unweighted, in a loop of one's own: ``R1()(network, real, fake)``.

        Args:
            score: a discriminator, or a function of it, that maps samples to logits (n, ...), each
                of its own sample alone; of a map of logits the penalty takes the sum.
            real: (n, *shape).
            fake: (n, *shape), of which no gradient is taken.
        """
        draws = Draws(int(torch.randint(2**62, ())), device=real.device)
        with torch.autocast(real.device.type, enabled=False):
            return self.penalty(score, real, fake.detach(), draws)

    def between(self, real: Items, fake: Items, logit: Logit, draws: Draws) -> Tensor:
        """The penalty on any pairs of reals and fakes, as any output layer judges them.

        Args:
            real: ``image`` (n, *shape), and ``condition`` if there is one.
            fake: the same.
            logit: maps images and conditions to logits (n, 1).
            draws: random numbers of this update.
        """
        condition = (real if self.condition_of == "real" else fake).get("condition")
        return self.penalty(lambda x: logit(x, condition), real.image, fake.image, draws)

    @abstractmethod
    def penalty(self, score: Score, real: Tensor, fake: Tensor, draws: Draws) -> Tensor:
        """Scalar from reals and fakes (n, *shape) and the random numbers of this update."""


class WassersteinGradientPenalty(GradientPenalty):
    """E (||g(x^)|| - 1)^2, the penalty of WGAN-GP; 1 for a constant critic.

    I. Gulrajani, F. Ahmed, M. Arjovsky, V. Dumoulin, A. Courville, "Improved Training of
    Wasserstein GANs", NeurIPS 2017, arXiv 1704.00028. An interpolate has the real's label.

    Args:
        discriminator_weight: lambda of the paper, 10.
        norm: "l2" as in the paper, or "rms" (over the values of a sample) as in Dist-GAN.
        values: range of the values that gradients are taken by: "-1..1" as images have them here,
            or "0..1" for papers whose images lie there, where gradients are twice as long.
        maximised: turn its sign, as the hinge form of the code released with Dist-GAN does. For
            norms below 1, where the RMS norm usually is, that shrinks gradients; for norms above 1
            it has no bound.
        mixes_samples: take a discriminator with batch norm, too, as the code released with Dist-GAN
            does; the gradient is then that of all logits of the batch together.
        every: as of `GradientPenalty`, and so below.
    """

    @checked
    def __init__(
        self,
        discriminator_weight: float | Schedule = 10.0,
        norm: Literal["l2", "rms"] = "l2",
        values: Literal["-1..1", "0..1"] = "-1..1",
        maximised: bool = False,
        mixes_samples: bool = False,
        every: Count = 1,
    ) -> None:
        super().__init__(discriminator_weight, every)
        self.norm = norm
        self.values = values
        self.maximised = maximised
        self.mixes_samples = mixes_samples

    def attach(self, discriminator: Attachable) -> None:
        """Make no heads, but refuse batch norm that is not asked for."""
        if not self.mixes_samples:
            super().attach(discriminator)

    def penalty(
        self,
        score: Score,
        real: Tensor,
        fake: Tensor,
        draws: Draws,
        weight: Tensor | None = None,
    ) -> Tensor:
        """E (||weight g(x^)|| - 1)^2, or its negative if maximised.

        Of images that differ in a hole alone, the weight is its mask: J. Yu et al., "Generative
        Image Inpainting with Contextual Attention", CVPR 2018.
        """
        gradients = input_gradient(score, interpolates(real, fake, draws))
        if self.values == "0..1":
            gradients = 2 * gradients
        penalty = one_centred(gradients, self.norm, weight)
        return -penalty if self.maximised else penalty


class ZeroCentredGradientPenalty(GradientPenalty):
    """E ||g(x^)||^2 between reals and fakes.

    H. Thanh-Tung, T. Tran, S. Venkatesh, "Improving Generalization and Stability of Generative
    Adversarial Networks", ICLR 2019, arXiv 1902.03984. An interpolate has the real's label.

    Args:
        discriminator_weight: 10 in the runs of Chandrasegaran et al., CVPR 2021, arXiv 2103.17195.
    """

    def penalty(self, score: Score, real: Tensor, fake: Tensor, draws: Draws) -> Tensor:
        """E ||g(x^)||^2."""
        return zero_centred(input_gradient(score, interpolates(real, fake, draws)))


class R1(GradientPenalty):
    """1/2 E ||g(x)||^2 on reals.

    L. Mescheder, A. Geiger, S. Nowozin, "Which Training Methods for GANs do actually Converge?",
    ICML 2018, arXiv 1801.04406; the factor 1/2 is the paper's.

    Args:
        discriminator_weight: gamma of the paper, 10.
    """

    def penalty(self, score: Score, real: Tensor, fake: Tensor, draws: Draws) -> Tensor:
        """1/2 E ||g(x)||^2; fakes and random numbers are not used."""
        return 0.5 * zero_centred(input_gradient(score, real))


class R2(GradientPenalty):
    """1/2 E ||g(G(z))||^2 on fakes; the other penalty of the paper of `R1`.

    Args:
        discriminator_weight: gamma of the paper, 10.
    """

    condition_of = "fake"

    def penalty(self, score: Score, real: Tensor, fake: Tensor, draws: Draws) -> Tensor:
        """1/2 E ||g(G(z))||^2; reals and random numbers are not used."""
        return 0.5 * zero_centred(input_gradient(score, fake))
