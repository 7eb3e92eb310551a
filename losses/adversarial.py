"""Adversarial losses: what the two players of a GAN minimise.

All take logits a = D(x) and b = D(G(z)), large for what the discriminator takes for real, of any
shape (n, ...): one for an image, a map of patches, the plane of a class. They return the mean over
all of them in float32.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saddlepoint.ranks import mean_of_all_ranks


class AdversarialLoss(ABC):
    """What the discriminator and the generator minimise."""

    #: Whether the generator's loss compares its fakes with reals.
    generator_sees_reals: ClassVar[bool] = False

    @abstractmethod
    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Scalar that the discriminator minimises, from logits (n, ...) and (m, ...)."""

    @abstractmethod
    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """Scalar that the generator minimises, from logits (m, ...) of its fakes.

        Args:
            fake_logits: of the fakes.
            real_logits: of reals (n, ...), given where `generator_sees_reals`.
        """


class SeparateLoss(AdversarialLoss):
    """L_D = E on_real(a) + E on_fake(b): reals and fakes are judged apart from each other."""

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The sum of the parts on reals and fakes, a scalar."""
        return self.on_real(real_logits) + self.on_fake(fake_logits)

    @abstractmethod
    def on_real(self, logits: Tensor) -> Tensor:
        """The discriminator's part on what it should take for real, a scalar."""

    @abstractmethod
    def on_fake(self, logits: Tensor) -> Tensor:
        """The discriminator's part on what it should take for fake, a scalar."""


@dataclass(frozen=True)
class RelativisticPairing(AdversarialLoss):
    """L_D = E f(b - a),  L_G = E f(a - b),  f = softplus, over pairs of a real and a fake.

    A. Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019, arXiv 1807.00734 (RpGAN);
    the loss of R3GAN, Y. Huang et al., arXiv 2501.05441. Pairs are those of equal position in the
    batch; each player wants its own side to look more real than the other. Only differences of
    logits count: a constant added to all of them changes nothing.

    Raises:
        ValueError: the logits have different shapes, and would be paired each with each.
    """

    generator_sees_reals: ClassVar[bool] = True

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """E softplus(b - a)."""
        return F.softplus(_differences(fake_logits, real_logits)).mean()

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """E softplus(a - b)."""
        if real_logits is None:
            raise ValueError("the relativistic loss of the generator needs the logits of reals")
        return F.softplus(_differences(real_logits, fake_logits)).mean()


@dataclass(frozen=True)
class Hinge(SeparateLoss):
    """L_D = E max(0, 1 - a) + E max(0, 1 + b),  L_G = -E b.

    J. H. Lim, J. C. Ye, "Geometric GAN", arXiv 1705.02894; D. Tran et al., arXiv 1702.08896; the
    loss of SNGAN and SAGAN.
    """

    def on_real(self, logits: Tensor) -> Tensor:
        """E max(0, 1 - a)."""
        return F.relu(1 - logits.float()).mean()

    def on_fake(self, logits: Tensor) -> Tensor:
        """E max(0, 1 + b)."""
        return F.relu(1 + logits.float()).mean()

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """-E b."""
        return -fake_logits.float().mean()


class _BinaryCrossEntropy(SeparateLoss):
    """L_D = E softplus(-a) + E softplus(b) = -E log s(a) - E log(1 - s(b)), s the sigmoid."""

    def on_real(self, logits: Tensor) -> Tensor:
        """-E log s(a)."""
        return F.softplus(-logits.float()).mean()

    def on_fake(self, logits: Tensor) -> Tensor:
        """-E log(1 - s(b))."""
        return F.softplus(logits.float()).mean()


@dataclass(frozen=True)
class Minimax(_BinaryCrossEntropy):
    """Binary cross-entropy, the original GAN. Mimicry's ``gan`` is its default.

    I. Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, arXiv 1406.2661. The
    discriminator's loss is -V of Eq. 1. The generator's is what the paper trains with, and what
    "the GAN loss" or "BCE" means in practice, L_G = -E log s(b).

    Args:
        saturating: take Eq. 1 to the letter, so that the game is zero-sum, L_G = E log(1 - s(b)).
            The gradient vanishes where the discriminator is sure of a fake.
    """

    saturating: bool = False

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """E softplus(-b), or -E softplus(b) if saturating."""
        if self.saturating:
            return -self.on_fake(fake_logits)
        return self.on_real(fake_logits)


@dataclass(frozen=True)
class NonSaturating(_BinaryCrossEntropy):
    """Mimicry's ``ns``: binary cross-entropy with L_G = -E log(s(b) + epsilon).

    It differs from `Minimax` by epsilon alone, which bounds the generator's loss and lets its
    gradient vanish for b below log(epsilon), about -18.

    Args:
        epsilon: 1e-8 in the published runs.
    """

    epsilon: float = 1e-8

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """-E log(s(b) + epsilon)."""
        return -torch.log(torch.sigmoid(fake_logits.float()) + self.epsilon).mean()


@dataclass(frozen=True)
class Wasserstein(SeparateLoss):
    """L_D = -E a + E b,  L_G = -E b.

    M. Arjovsky, S. Chintala, L. Bottou, "Wasserstein GAN", ICML 2017, arXiv 1701.07875. The critic
    must be kept Lipschitz: by a gradient penalty or spectral norm.
    """

    def on_real(self, logits: Tensor) -> Tensor:
        """-E a."""
        return -logits.float().mean()

    def on_fake(self, logits: Tensor) -> Tensor:
        """E b."""
        return logits.float().mean()

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """-E b."""
        return -fake_logits.float().mean()


@dataclass(frozen=True)
class LeastSquares(SeparateLoss):
    """L_D = 1/2 E (a - real)^2 + 1/2 E (b - fake)^2,  L_G = 1/2 E (b - target)^2.

    X. Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, arXiv 1611.04076;
    its codes (a, b, c) are (fake, real, target), by default (0, 1, 1). With (-1, 1, 0) the game
    minimises a Pearson chi^2 divergence.

    Args:
        fake: what the discriminator should say of fakes.
        real: what it should say of reals.
        target: what the generator wants it to say of fakes.
    """

    fake: float = 0.0
    real: float = 1.0
    target: float = 1.0

    def on_real(self, logits: Tensor) -> Tensor:
        """1/2 E (a - real)^2."""
        return _half_square(logits, self.real)

    def on_fake(self, logits: Tensor) -> Tensor:
        """1/2 E (b - fake)^2."""
        return _half_square(logits, self.fake)

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """1/2 E (b - target)^2."""
        return _half_square(fake_logits, self.target)


@dataclass(frozen=True)
class ScoreMatching(SeparateLoss):
    """L_G = | E s(a) - E s(b) |, s the sigmoid: fakes are to score as reals do, not better.

    The generator's loss of Dist-GAN, N.-T. Tran, T.-A. Bui, N.-M. Cheung, ECCV 2018, arXiv
    1803.08887. It lies in [0, 1], and its gradient turns round where fakes overtake reals. The
    discriminator's loss is that of `Minimax` or `Hinge`.

    Args:
        form: "minimax" (the paper's log form) or "hinge" of the discriminator's loss.
        hinge_on: "logit", or "sigmoid" as the released code has it on all but its DCGAN networks.
            The hinge of a sigmoid never saturates: L_D = 2 - E s(a) + E s(b).
    """

    form: Literal["minimax", "hinge"] = "hinge"
    hinge_on: Literal["logit", "sigmoid"] = "logit"

    generator_sees_reals: ClassVar[bool] = True

    def on_real(self, logits: Tensor) -> Tensor:
        """The discriminator's part on reals, in the form chosen."""
        return self._of_discriminator.on_real(self._judged(logits))

    def on_fake(self, logits: Tensor) -> Tensor:
        """The discriminator's part on fakes, in the form chosen."""
        return self._of_discriminator.on_fake(self._judged(logits))

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """| E s(a) - E s(b) |, with gradient 0 at equality."""
        if real_logits is None:
            raise ValueError("score matching of the generator needs the logits of reals")
        real, fake = real_logits.float().sigmoid(), fake_logits.float().sigmoid()
        return mean_of_all_ranks(real.mean() - fake.mean()).abs()

    @property
    def _of_discriminator(self) -> SeparateLoss:
        return Minimax() if self.form == "minimax" else Hinge()

    def _judged(self, logits: Tensor) -> Tensor:
        on_sigmoid = self.form == "hinge" and self.hinge_on == "sigmoid"
        return logits.float().sigmoid() if on_sigmoid else logits


def _differences(ours: Tensor, theirs: Tensor) -> Tensor:
    """Of pairs; (n,) and (n, 1) would be broadcast to all n^2 of them without a word."""
    if ours.shape != theirs.shape:
        raise ValueError(
            f"pairs of a real and a fake need logits of one shape, and these have"
            f" {tuple(ours.shape)} and {tuple(theirs.shape)}"
        )
    return ours.float() - theirs.float()


def _half_square(logits: Tensor, code: float) -> Tensor:
    return 0.5 * (logits.float() - code).square().mean()
