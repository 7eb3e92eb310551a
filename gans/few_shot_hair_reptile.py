"""Semi few-shot translation of hair colours by Reptile: a good start for learning any colour.

R. Durall, F.-J. Pfreundt, J. Keuper. "Semi Few-Shot Attribute Translation", arXiv 1910.03240, 2019.
No code was released. What is here follows the abstract, and FIGR: L. Clouatre, M. Demers, "FIGR:
Few-shot Image Generation with Reptile", arXiv 1901.02199, 2019.
"""

import copy
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from saddlepoint.gans.critic import Critic
from saddlepoint.gans.episodes import AdaptiveEpisodes
from saddlepoint.gans.game import Game, MakeOptimizer, Player
from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import AdversarialLoss, Wasserstein
from saddlepoint.losses.gradient_penalty import WassersteinGradientPenalty
from saddlepoint.losses.term import Step
from saddlepoint.losses.total import total
from saddlepoint.randomness import Draws
from saddlepoint.schema import Count, Natural, NotNegative, checked

OUTER_SGD = partial(torch.optim.SGD, lr=0.1)
INNER_ADAM = partial(torch.optim.Adam, lr=1e-4, betas=(0.0, 0.9))


class FewShotHairReptile(Game):
    """A translator and a critic whose weights are a good start for learning any one colour.

    An iteration is a task: examples of one class, and as many images of others. Copies of both
    networks play m steps of a small StarGAN on it,

        L_D = E D(G(x, 1)) - E D(y) + w_P E (||grad D|| - 1)^2
        L_G = -E D(G(x, 1)) + w_C |G(G(x, 1), 0) - x|

    with flag 1 for the task's class and 0 for the way back; then the weights move towards the
    copies': their gradient is taken to be phi - theta_m, so that SGD with rate epsilon does phi <-
    phi + epsilon (theta_m - phi) (A. Nichol, J. Achiam, J. Schulman, arXiv 1803.02999). Nothing
    differentiates through the steps. Whenever pictures are asked for, copies are adapted to their
    examples in the same way.

    Args:
        generator: images and a flag (n, 1) to images.
        discriminator: the critic.
        condition: the classes to train on.
        adversarial: the loss of the inner game.
        penalty_weight: w_P.
        cycle_weight: w_C.
        inner_steps: m in training.
        adaptation_steps: m when pictures are shown and scored; 0 shows the start itself.
        shots: examples K when pictures are shown and scored; in training they are as many as the
            batch.
        inner_optimizer: makes the optimisers of the copies, anew for each task.
        outer_optimizer: makes that of the weights; its rate is epsilon.
        settings: of `Game`.
    """

    #: Adaptation starts from both.
    sampled_networks = ("generator", "discriminator")

    discriminator: Discriminator
    task: AdaptiveEpisodes

    @checked
    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        *,
        condition: Condition | None = None,
        adversarial: AdversarialLoss | None = None,
        penalty_weight: NotNegative = 10.0,
        cycle_weight: NotNegative = 10.0,
        inner_steps: Count = 10,
        adaptation_steps: Natural = 50,
        shots: Count = 10,
        inner_optimizer: MakeOptimizer = INNER_ADAM,
        outer_optimizer: MakeOptimizer = OUTER_SGD,
        **settings: Any,
    ) -> None:
        networks = {"generator": generator, "discriminator": discriminator}
        super().__init__(networks, AdaptiveEpisodes(condition, shots), **settings)
        self.adversarial = adversarial or Wasserstein()
        self.penalty = WassersteinGradientPenalty()
        self.penalty_weight, self.cycle_weight = penalty_weight, cycle_weight
        self.inner_steps, self.adaptation_steps = inner_steps, adaptation_steps
        self.inner_optimizer, self.outer_optimizer = inner_optimizer, outer_optimizer

    # Training -------------------------------------------------------------------------------------

    def players(self) -> list[Player]:
        """One, that moves both networks after a task."""
        networks = ("generator", "discriminator")
        return [Player("reptile", self.outer_optimizer, networks, judged=self.inner_steps)]

    def update(self, player: Player, step: Step) -> None:
        """Play one task with copies, and move towards where they end."""
        examples = step.inputs.shots[:, 0]
        copies = copy.deepcopy(self.generator), copy.deepcopy(self.discriminator)
        losses = self.adapt(*copies, examples, step.real.image, self.inner_steps, step.draws)
        originals = self.generator, self.discriminator
        for original, adapted in zip(originals, copies, strict=True):
            for phi, theta in zip(original.parameters(), adapted.parameters(), strict=True):
                phi.grad = phi.detach() - theta.detach()
        self.move(player, losses)

    def adapt(
        self,
        generator: nn.Module,
        discriminator: Discriminator,
        examples: Tensor,
        others: Tensor,
        steps: int,
        draws: Draws,
    ) -> dict[str, Tensor]:
        """Train two networks on one task, in place.

        Args:
            generator: to become the translator to the class.
            discriminator: to become its critic.
            examples: (K, *shape) of the class.
            others: (n, *shape), images to translate to it.
            steps: of each network.
            draws: random numbers.

        Returns:
            The losses of the last step.
        """
        critic = Critic(discriminator, self.autocast)
        of_discriminator = self.inner_optimizer(discriminator.parameters())
        of_generator = self.inner_optimizer(generator.parameters())
        losses: dict[str, Tensor] = {}
        for _ in range(steps):
            for_critic = self.discriminator_losses(generator, critic, examples, others, draws)
            descend(of_discriminator, for_critic)
            for_generator = self.generator_losses(generator, critic, others)
            descend(of_generator, for_generator)
            losses = {**for_critic, **for_generator}
        return losses

    def discriminator_losses(
        self, generator: nn.Module, critic: Critic, examples: Tensor, others: Tensor, draws: Draws
    ) -> dict[str, Tensor]:
        """The adversarial loss on examples and translations, and the penalty between them."""
        with torch.no_grad():
            fake = self.translated(generator, others)
        seen = critic.look({"real": Items(image=examples), "fake": Items(image=fake)})
        pairs = min(len(examples), len(fake))
        penalty = self.penalty.penalty(critic.logit, examples[:pairs], fake[:pairs], draws)
        return {
            "critic": self.adversarial.discriminator(seen["real"].logits, seen["fake"].logits),
            "gradient_penalty": self.penalty_weight * penalty,
        }

    def generator_losses(
        self, generator: nn.Module, critic: Critic, others: Tensor
    ) -> dict[str, Tensor]:
        """The adversarial loss of translations, and the way back."""
        fake = self.translated(generator, others)
        seen = critic.look({"fake": Items(image=fake)})
        back = self.translated(generator, fake, flag=0.0)
        return {
            "adversarial": self.adversarial.generator(seen["fake"].logits),
            "cycle": self.cycle_weight * (back - others).abs().mean(),
        }

    def translated(self, generator: nn.Module, images: Tensor, flag: float = 1.0) -> Tensor:
        """Images (n, *shape), float32: those of the task's class, or with flag 0 the way back."""
        flags = torch.full((len(images), 1), flag, device=images.device)
        with self.autocast():
            return generator(images, flags).float()

    # Sampling -------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, inputs: Items) -> Tensor:
        """Images (n, *shape), float32, from copies that are adapted to the examples of each."""
        images = torch.empty_like(inputs.image)
        for episode in inputs.episode.unique():
            rows = (inputs.episode == episode).nonzero()[:, 0]
            own = inputs.part(rows)
            generator = self.adapted(own.shots[0], own.others[0], int(episode))
            images[rows] = self._generate(generator, own)
        return images

    def adapted(self, examples: Tensor, others: Tensor, episode: int = 0) -> nn.Module:
        """A translator to the class of some examples; the game itself stays as it is."""
        generator, average = (
            copy.deepcopy(self.sampled(name)).requires_grad_(True)
            for name in ("generator", "discriminator")
        )
        discriminator = cast(Discriminator, average)  # which it was copied from
        draws = Draws(self.seed, "adaptation", episode, device=self.device)
        with torch.enable_grad():
            self.adapt(generator, discriminator, examples, others, self.adaptation_steps, draws)
        return generator.eval()

    def pictures(
        self, positions: range, seed: int | None = None, data: Any = None
    ) -> dict[str, Tensor]:
        """See `gans.episodes.Episodes.columns`."""
        inputs = self.inputs_at(positions, seed, data)
        return self.task.columns(inputs, self.sample(inputs))


def descend(optimizer: torch.optim.Optimizer, losses: dict[str, Tensor]) -> None:
    """One step down the gradient of the sum of these losses."""
    optimizer.zero_grad(set_to_none=True)
    total(losses.values()).backward()
    optimizer.step()
