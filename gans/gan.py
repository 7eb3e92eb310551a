"""The two-player GAN, and how terms stack on it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.gans.critic import Critic
from saddlepoint.gans.game import Game, MakeOptimizer, Player
from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.gans.tasks import FromLatents, Task
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import AdversarialLoss, Hinge
from saddlepoint.losses.term import Step, Term, Terms
from saddlepoint.schema import checked

ADAM = partial(torch.optim.Adam, lr=2e-4, betas=(0.0, 0.9), fused=True)


class GAN(Game):
    """Discriminator ``n_dis`` times, then generator once; an adversarial loss plus any terms.

    Args:
        generator: latents (and conditions) to images.
        discriminator: images (and conditions) to `Features`.
        condition: what the generator is asked for; None for nothing.
        latent_prior: "normal" for N(0, 1), "uniform" for U(-1, 1).
        task: what the generator is fed; latents of that prior by default.
        adversarial: the loss of the game; the method's own by default.
        terms: what stacks, by name; the method's own by default. A method refuses a set of terms
            that leaves out what defines it.
        n_dis: discriminator updates per iteration, each on fresh reals and latents.
        discriminator_optimizer: makes the optimiser of the discriminator and of the terms' heads.
        generator_optimizer: makes the generator's.
        joint_views: whether one discriminator pass looks at all images of an update, see `Critic`.
        settings: of `Game`.
    """

    #: The adversarial loss of the method.
    default_adversarial: ClassVar[type[AdversarialLoss]] = Hinge
    #: How the discriminator is looked through.
    critic_class: ClassVar[type[Critic]] = Critic
    #: The terms that make the method what it is, by name.
    defining_terms: ClassVar[Mapping[str, Callable[[], Term]]] = {}

    discriminator: Discriminator
    critic: Critic[Discriminator]

    @checked
    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        *,
        condition: Condition | None = None,
        latent_prior: Literal["normal", "uniform"] = "normal",
        task: Task | None = None,
        adversarial: AdversarialLoss | None = None,
        terms: Mapping[str, Term] | None = None,
        n_dis: Annotated[int, Ge(1), Le(1000)] = 5,
        discriminator_optimizer: MakeOptimizer = ADAM,
        generator_optimizer: MakeOptimizer = ADAM,
        joint_views: bool = True,
        **settings: Any,
    ) -> None:
        networks = {"generator": generator, "discriminator": discriminator}
        task = task or FromLatents(generator.latent_dim, latent_prior, condition)
        super().__init__(networks, task, **settings)
        self.critic = self.critic_class(discriminator, self.autocast, joint_views=joint_views)
        self.adversarial = adversarial or self.default_adversarial()
        if terms is None:
            terms = {name: term() for name, term in self.defining_terms.items()}
        self._refuse_missing(terms)
        self.terms = Terms(terms, discriminator)
        self.terms.refuse_unheard(("discriminator", "generator"))
        self.n_dis = n_dis
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_optimizer = generator_optimizer

    def players(self) -> list[Player]:
        """Discriminator (with the heads of all terms), then generator."""
        sees_reals = self.adversarial.generator_sees_reals or self.terms.see_reals("generator")
        return [
            Player(
                "discriminator",
                self.discriminator_optimizer,
                networks=("discriminator", "terms"),
                updates=self.n_dis,
                judged=1,
            ),
            Player("generator", self.generator_optimizer, batches=int(sees_reals)),
        ]

    def fill(self, data: Any) -> None:
        """Let the terms take it."""
        self.terms.fill(data)

    def idle(self, player: Player, step: Step) -> Sequence[nn.Module]:
        """The terms without a part in this update."""
        return self.terms.idle(player.name, step)

    def discriminator_loss(self, step: Step) -> dict[str, Tensor]:
        """Adversarial loss on reals and detached fakes, and the terms' discriminator parts."""
        with torch.no_grad():
            step.fake = self.fakes(step.inputs)
        self._look("discriminator", step, {"real": step.real, "fake": step.fake})
        real, fake = step.seen["real"].logits, step.seen["fake"].logits
        losses = {"adversarial": self.adversarial.discriminator(real, fake)}
        return losses | self.terms.losses("discriminator", step)

    def generator_loss(self, step: Step) -> dict[str, Tensor]:
        """Adversarial loss on fakes, and the terms' generator parts."""
        step.fake = self.fakes(step.inputs)
        views = {"fake": step.fake}
        if self.adversarial.generator_sees_reals:
            views["real"] = step.real
        self._look("generator", step, views)
        logits = [step.seen[name].logits for name in views]
        losses = {"adversarial": self.adversarial.generator(*logits)}
        return losses | self.terms.losses("generator", step)

    def _look(self, player: str, step: Step, views: dict[str, Items]) -> None:
        """Let the critic look at these views, and at all that the terms want in this update."""
        step.adversarial, step.logit = self.adversarial, self.critic.logit
        step.penalties = self.terms.penalties(player, step)
        step.views = views | self.terms.views(player, step)
        step.seen = self.critic.look(step.views)

    def _refuse_missing(self, terms: Mapping[str, Term]) -> None:
        missing = [name for name in self.defining_terms if name not in terms]
        if missing:
            wanted = ",".join([*missing, *terms])
            raise UserError(
                f"{type(self).__name__} is defined by its term {missing[0]}, which the terms given"
                f" leave out: write 'terms=[{wanted}]', or choose another gan."
            )
