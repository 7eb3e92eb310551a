"""The two-player GAN, and how terms stack on it."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.gans.game import Game, MakeOptimizer, Player
from saddlepoint.gans.networks.discriminator import Discriminator, Features
from saddlepoint.losses.adversarial import AdversarialLoss, Hinge
from saddlepoint.losses.term import Step, Term, View

ADAM = partial(torch.optim.Adam, lr=2e-4, betas=(0.0, 0.9), fused=True)


class GAN(Game):
    """Discriminator ``n_dis`` times, then generator once; an adversarial loss plus any terms.

    Args:
        generator: latents and labels to images.
        discriminator: images and labels to `Features`.
        adversarial: the loss of the game; the method's own by default.
        terms: what stacks, by name; the method's own by default. A method refuses a set of terms
            that leaves out what defines it.
        n_dis: discriminator updates per iteration, each on fresh reals and latents.
        discriminator_optimizer: makes the optimiser of the discriminator and of the terms' heads.
        generator_optimizer: makes the generator's.
        joint_views: whether one discriminator call looks at all images of an update. It is faster
            by a factor; the spectral norms then make one power iteration per update where calls of
            their own (False, the published behaviour) make one per view. A discriminator with
            batch norm always gets separate calls.
        settings: of `Game`.
    """

    #: The adversarial loss of the method.
    default_adversarial: ClassVar[type[AdversarialLoss]] = Hinge
    #: The terms that make the method what it is, by name.
    defining_terms: ClassVar[Mapping[str, type[Term]]] = {}

    def __init__(
        self,
        generator: nn.Module,
        discriminator: Discriminator,
        *,
        adversarial: AdversarialLoss | None = None,
        terms: Mapping[str, Term] | None = None,
        n_dis: int = 5,
        discriminator_optimizer: MakeOptimizer = ADAM,
        generator_optimizer: MakeOptimizer = ADAM,
        joint_views: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(generator, **settings)
        self.discriminator = discriminator
        self.adversarial = adversarial or self.default_adversarial()
        if terms is None:
            terms = {name: term() for name, term in self.defining_terms.items()}
        self._refuse_missing(terms)
        for term in terms.values():
            term.attach(discriminator)
        self.terms = nn.ModuleDict(terms)
        self.n_dis = n_dis
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_optimizer = generator_optimizer
        self.joint_views = joint_views and not discriminator.mixes_samples

    def players(self) -> list[Player]:
        """Discriminator (with the heads of all terms), then generator."""
        return [
            Player(
                name="discriminator",
                networks=("discriminator", "terms"),
                optimizer=self.discriminator_optimizer,
                updates=self.n_dis,
            ),
            Player(
                name="generator",
                networks=("generator",),
                optimizer=self.generator_optimizer,
                sees_reals=any(
                    term.generator_sees_reals for _, term in self._terms_of("generator")
                ),
            ),
        ]

    def discriminator_loss(self, step: Step) -> dict[str, Tensor]:
        """Adversarial loss on reals and detached fakes, and the terms' discriminator parts."""
        with torch.no_grad():
            step.fake = self.generate(step.latents, step.fake_labels)
        views = {
            "real": View(step.real, step.labels),
            "fake": View(step.fake, step.fake_labels),
        }
        self._look(step, views, "discriminator")
        real, fake = step.features["real"].logits, step.features["fake"].logits
        losses = {"adversarial": self.adversarial.discriminator(real, fake)}
        for name, term in self._terms_of("discriminator"):
            losses[name] = term.discriminator_weight * term.discriminator_loss(step)
        return losses

    def generator_loss(self, step: Step) -> dict[str, Tensor]:
        """Adversarial loss on fakes, and the terms' generator parts."""
        step.fake = self.generate(step.latents, step.fake_labels)
        self._look(step, {"fake": View(step.fake, step.fake_labels)}, "generator")
        losses = {"adversarial": self.adversarial.generator(step.features["fake"].logits)}
        for name, term in self._terms_of("generator"):
            losses[name] = term.generator_weight * term.generator_loss(step)
        return losses

    def discriminate(self, images: Tensor, labels: Tensor | None = None) -> Features:
        """Features of images, float32."""
        with self.autocast():
            features = self.discriminator(images, labels if self.num_classes else None)
        return Features(*(feature.float() for feature in features))

    def score(
        self, images: Tensor, labels: Tensor | None = None, head: nn.Module | None = None
    ) -> Tensor:
        """Logits (n, 1) from a pass in float32 throughout, for penalties on input gradients.

        The output layer is the discriminator's own, or ``head``.
        """
        _, pooled = self.discriminator.features(images)
        return self.discriminator.logits(pooled, labels if self.num_classes else None, head)

    def _look(self, step: Step, views: dict[str, View], player: str) -> None:
        """Fill ``step.features`` with all views wanted in this update."""
        step.score, step.adversarial = self.score, self.adversarial
        step.terms, step.views = dict(self._terms_of(player)), views
        for term in step.terms.values():
            views |= getattr(term, f"{player}_views")(step)
        if not self.joint_views:
            step.features = {name: self.discriminate(*view) for name, view in views.items()}
            return
        sizes = [len(view.images) for view in views.values()]
        images = torch.cat([view.images for view in views.values()])
        labels = torch.cat([view.labels for view in views.values()]) if self.num_classes else None
        parts = (feature.split(sizes) for feature in self.discriminate(images, labels))
        step.features = {
            name: Features(*of_view) for name, *of_view in zip(views, *parts, strict=True)
        }

    def _terms_of(self, player: str) -> list[tuple[str, Term]]:
        weight = f"{player}_weight"
        return [(name, term) for name, term in self.terms.items() if getattr(term, weight)]

    def _refuse_missing(self, terms: Mapping[str, Term]) -> None:
        missing = [name for name in self.defining_terms if name not in terms]
        if missing:
            wanted = ",".join([*missing, *terms])
            raise UserError(
                f"{type(self).__name__} is defined by its term {missing[0]}, which the terms given"
                f" leave out: write 'terms=[{wanted}]', or choose another gan."
            )
