"""What stacks: the step a term sees, and the contract a term keeps.

Papers in this field rarely invent a GAN; they add a term to one. A term names the *views* of the
images it wants the discriminator to look at (the rotated reals, say). The game looks at all views
of all terms at once, and every term then reads the features it needs from the step: nothing is
computed twice, and no term knows of another.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn

from saddlepoint.losses.adversarial import AdversarialLoss
from saddlepoint.randomness import Draws


class View(NamedTuple):
    """Images for the discriminator, float (n, *shape) in [-1, 1], with labels (n,) or None."""

    images: Tensor
    labels: Tensor | None = None


@dataclass
class Step:
    """One update of one player, as its terms see it.

    Attributes:
        iteration: finished iterations before this one; ``total_iterations`` is the run's length.
        draws: keyed random numbers of this update.
        real: reals (n, *shape) in [-1, 1], or None if the player sees none; ``labels`` (n,) and
            ``attributes`` (n, a) belong to them.
        latents: (n, d); ``fake`` = G(latents, fake_labels), detached in the discriminator's update.
        score: maps images (m, *shape) and labels to logits (m, 1) in a float32 pass of its own, for
            penalties that differentiate the discriminator with respect to its input; with
            ``head=`` to those of another output layer.
        adversarial: the loss of the game.
        terms: those in play in this update, by name.
        views: what the discriminator looks at, by the view's name.
        features: what the discriminator made of each view, by the view's name. ``"fake"`` is always
            there; ``"real"`` is in the discriminator's update.
    """

    iteration: int
    total_iterations: int
    draws: Draws
    real: Tensor | None = None
    labels: Tensor | None = None
    attributes: Tensor | None = None
    latents: Tensor | None = None
    fake: Tensor | None = None
    fake_labels: Tensor | None = None
    score: Callable[..., Tensor] | None = None
    adversarial: AdversarialLoss | None = None
    terms: "dict[str, Term]" = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    features: dict[str, Any] = field(default_factory=dict)


class Term(nn.Module):
    """A loss term with a part for each player, its own weights, and the heads it needs.

    Heads are made in `attach` and trained by the discriminator's optimiser; they read the features
    of views. Losses are returned unweighted; the game weighs them, and leaves out a part whose
    weight is 0 together with its views, so that weight 0 is exactly the game without the term.

    Args:
        discriminator_weight: weight of `discriminator_loss` in the discriminator's update.
        generator_weight: weight of `generator_loss` in the generator's update.
    """

    #: Whether the generator's part needs a batch of reals.
    generator_sees_reals = False

    def __init__(self, discriminator_weight: float = 0.0, generator_weight: float = 0.0) -> None:
        super().__init__()
        self.discriminator_weight = discriminator_weight
        self.generator_weight = generator_weight

    def attach(self, discriminator: nn.Module) -> None:
        """Make the heads, from ``discriminator.new_head`` and ``new_local_head``."""

    def discriminator_views(self, step: Step) -> dict[str, View]:
        """Views wanted in the discriminator's update, besides ``"real"`` and ``"fake"``."""
        return {}

    def discriminator_loss(self, step: Step) -> Tensor:
        """Unweighted scalar that the discriminator minimises."""
        raise AttributeError(
            f"{type(self).__name__} has no discriminator part; set its weight to 0"
        )

    def generator_views(self, step: Step) -> dict[str, View]:
        """Views wanted in the generator's update, besides ``"fake"``."""
        return {}

    def generator_loss(self, step: Step) -> Tensor:
        """Unweighted scalar that the generator minimises."""
        raise AttributeError(f"{type(self).__name__} has no generator part; set its weight to 0")
