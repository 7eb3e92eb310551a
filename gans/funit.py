"""FUNIT: translation to classes that were never trained on, from a few examples.

M.-Y. Liu, X. Huang, A. Mallya, T. Karras, T. Aila, J. Lehtinen, J. Kautz. "Few-Shot Unsupervised
Image-to-Image Translation", ICCV 2019, arXiv 1905.01723.
"""

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from saddlepoint.gans.critic import Critic
from saddlepoint.gans.episodes import Episodes
from saddlepoint.gans.game import Game, MakeOptimizer, Player
from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.few_shot import FewShotTranslator
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import AdversarialLoss, Hinge
from saddlepoint.losses.few_shot import feature_matching, real_gradient_penalty
from saddlepoint.losses.term import Step
from saddlepoint.losses.total import total
from saddlepoint.schema import Count, NotNegative, checked

RMSPROP = partial(torch.optim.RMSprop, lr=1e-4, weight_decay=1e-4)


class FUNIT(Game):
    """One discriminator update, then one of the generator on the same images.

    A content image x_a of class a comes with examples x_b of another class b. The generator makes
    the translation x_t = G(x_a, {x_b}) and the reconstruction x_r = G(x_a, {x_a}); the
    discriminator has a map of logits for each class and is asked for the relevant one.

        L_D = E max(0, 1 - D_b(x_b)) + E max(0, 1 + D_b(x_t)) + w_P R1(x_b)
        L_G = 1/2 [-E D_b(x_t) - E D_a(x_r)] + w_R |x_r - x_a|
              + w_F (|m(x_t) - m(x_b)| + |m(x_r) - m(x_a)|)

    with m the mean over positions of the discriminator's last features.

    Args:
        generator: images and examples to images, see `networks.few_shot.FewShotTranslator`.
        discriminator: a map for each class, see `networks.multi_task.MultiTaskDiscriminator`.
        condition: the classes to train on.
        adversarial: the loss on the maps.
        adversarial_weight: of the generator's part in it.
        reconstruction_weight: w_R; more of it keeps structure and costs likeness to the class.
        feature_weight: w_F.
        penalty_weight: w_P; 10 in the released code, whose form at 8 images a device is 10 / 64 of
            the one per sample.
        penalty_form: "per_sample" or "reference", see `losses.few_shot.real_gradient_penalty`.
        penalty_every: the penalty counts in every so-manieth iteration only, and that many times as
            much.
        shots: examples K when pictures are shown and scored; those of training are the data's.
        discriminator_optimizer: makes the discriminator's optimiser.
        generator_optimizer: makes the generator's.
        settings: of `Game`.
    """

    generator: FewShotTranslator
    task: Episodes

    @checked
    def __init__(
        self,
        generator: FewShotTranslator,
        discriminator: Discriminator,
        *,
        condition: Condition | None = None,
        adversarial: AdversarialLoss | None = None,
        adversarial_weight: NotNegative = 1.0,
        reconstruction_weight: NotNegative = 0.1,
        feature_weight: NotNegative = 1.0,
        penalty_weight: NotNegative = 10 / 64,
        penalty_form: Literal["per_sample", "reference"] = "per_sample",
        penalty_every: Count = 1,
        shots: Count = 5,
        discriminator_optimizer: MakeOptimizer = RMSPROP,
        generator_optimizer: MakeOptimizer = RMSPROP,
        **settings: Any,
    ) -> None:
        networks = {"generator": generator, "discriminator": discriminator}
        super().__init__(networks, Episodes(condition, shots), **settings)
        self.critic = Critic(discriminator, self.autocast)
        self.adversarial = adversarial or Hinge()
        self.adversarial_weight = adversarial_weight
        self.reconstruction_weight = reconstruction_weight
        self.feature_weight = feature_weight
        self.penalty_weight, self.penalty_form = penalty_weight, penalty_form
        self.penalty_every = penalty_every
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_optimizer = generator_optimizer

    def players(self) -> list[Player]:
        """Discriminator, then generator on the same images."""
        return [
            Player("discriminator", self.discriminator_optimizer, judged=1),
            Player("generator", self.generator_optimizer, batches=None),
        ]

    def discriminator_loss(self, step: Step) -> dict[str, Tensor]:
        """The adversarial loss on examples and translations, and the penalty on examples."""
        examples = examples_of(step.inputs)
        with torch.no_grad():
            step.fake = self.fakes(step.inputs)
        seen = self.critic.look({"examples": examples, "translation": step.fake})
        logits = seen["examples"].logits, seen["translation"].logits
        losses = {"adversarial": self.adversarial.discriminator(*logits)}
        if self.penalty_weight and step.iteration % self.penalty_every == 0:
            score = partial(self.critic.logit, condition=examples.condition)
            penalty = real_gradient_penalty(score, examples.image, self.penalty_form)
            losses["gradient_penalty"] = self.penalty_weight * self.penalty_every * penalty
        return losses

    def generator_loss(self, step: Step) -> dict[str, Tensor]:
        """The adversarial loss of both outputs, the reconstruction, and features to match."""
        inputs = step.inputs
        content = Items(image=inputs.image, condition=inputs.label)
        with self.autocast():
            own = inputs.image.unsqueeze(1)  # each is its own example
            made = self.generator.translations(inputs.image, inputs.shots, own)
        step.fake, rebuilt = (
            Items(image=image.float(), condition=asked)
            for image, asked in zip(made, (inputs.target, inputs.label), strict=True)
        )
        seen = self.critic.look({"translation": step.fake, "reconstruction": rebuilt})
        with torch.no_grad():
            wanted = self.critic.look({"examples": examples_of(inputs), "content": content})
        adversarial = total(self.adversarial.generator(view.logits) for view in seen.values()) / 2
        matching = feature_matching(
            seen["translation"].local, wanted["examples"].local
        ) + feature_matching(seen["reconstruction"].local, wanted["content"].local)
        return {
            "adversarial": self.adversarial_weight * adversarial,
            "reconstruction": self.reconstruction_weight
            * (rebuilt.image - content.image).abs().mean(),
            "feature_matching": self.feature_weight * matching,
        }

    def pictures(
        self, positions: range, seed: int | None = None, data: Any = None
    ) -> dict[str, Tensor]:
        """See `gans.episodes.Episodes.columns`."""
        inputs = self.inputs_at(positions, seed, data)
        return self.task.columns(inputs, self.sample(inputs))


def examples_of(inputs: Items) -> Items:
    """All examples (n K, *shape) one after the other, and the class of each as ``condition``."""
    shots = inputs.shots
    return Items(
        image=shots.flatten(0, 1), condition=inputs.target.repeat_interleave(shots.shape[1])
    )
