"""StarGAN: one generator that gives images any of several attributes.

Y. Choi, M. Choi, M. Kim, J.-W. Ha, S. Kim, J. Choo. "StarGAN: Unified Generative Adversarial
Networks for Multi-Domain Image-to-Image Translation", CVPR 2018, arXiv 1711.09020.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.gans.editing import Editing
from saddlepoint.gans.edits import Translations
from saddlepoint.gans.game import MakeOptimizer, Player
from saddlepoint.gans.gan import GAN
from saddlepoint.gans.networks.conditions import Condition, Editable
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.gans.networks.stargan import StarGANDiscriminator
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import Wasserstein
from saddlepoint.losses.attributes import attribute_loss
from saddlepoint.losses.gradient_penalty import WassersteinGradientPenalty
from saddlepoint.losses.term import Step
from saddlepoint.schema import NotNegative, checked

STARGAN_ADAM = partial(torch.optim.Adam, lr=1e-4, betas=(0.5, 0.999), fused=True)


class StarGAN(Editing, GAN):
    """WGAN-GP on translated images; the discriminator also says what an image shows.

    It learns that from reals alone. The generator is to show the target, and to find its way back:
    G(G(x, target), own) is x.

    Args:
        generator: images and targets to images.
        discriminator: images to a map of logits, and to what they show.
        condition: attributes that can be edited, or classes.
        class_weight: lambda_cls, of what is shown, for both players.
        cycle_weight: lambda_rec.
        patches: what the penalty differentiates: the "mean" of the map of logits, or their "sum" as
            published, whose norm grows with the map.
        n_dis: discriminator updates per iteration.
        discriminator_optimizer: makes the optimiser of the discriminator and of the terms' heads.
        generator_optimizer: makes the generator's.
        settings: of `GAN`.

    Raises:
        UserError: the condition is of another kind.
    """

    default_adversarial = Wasserstein
    defining_terms: ClassVar[Mapping[str, type]] = {"gradient_penalty": WassersteinGradientPenalty}

    task: Translations
    discriminator: StarGANDiscriminator

    @checked
    def __init__(
        self,
        generator: Generator,
        discriminator: StarGANDiscriminator,
        *,
        condition: Condition | None = None,
        class_weight: NotNegative = 1.0,
        cycle_weight: NotNegative = 10.0,
        patches: Literal["mean", "sum"] = "mean",
        discriminator_optimizer: MakeOptimizer = STARGAN_ADAM,
        generator_optimizer: MakeOptimizer = STARGAN_ADAM,
        **settings: Any,
    ) -> None:
        if not isinstance(condition, Editable):
            raise UserError(
                "StarGAN turns images into something else: set condition=edits, or"
                " condition=classes."
            )
        super().__init__(
            generator,
            discriminator,
            condition=condition,
            task=Translations(condition),
            discriminator_optimizer=discriminator_optimizer,
            generator_optimizer=generator_optimizer,
            **settings,
        )
        self.critic.patches = patches
        self.class_weight, self.cycle_weight = class_weight, cycle_weight

    def players(self) -> list[Player]:
        """As of `GAN`; the generator starts from reals of its own."""
        discriminator, generator = super().players()
        return [discriminator, replace(generator, batches=1)]

    def discriminator_loss(self, step: Step) -> dict[str, Tensor]:
        """The GAN's, and what reals show."""
        losses = super().discriminator_loss(step)
        shown = self.discriminator.shows(step.seen["real"].pooled)
        return losses | {"classes": self._class_loss(shown, step.real.condition)}

    def generator_loss(self, step: Step) -> dict[str, Tensor]:
        """The GAN's, what fakes show, and the way back."""
        losses = super().generator_loss(step)
        shown = self.discriminator.shows(step.seen["fake"].pooled)
        real = step.real
        back = self.generate(Items(image=step.fake.image, target=real.condition))
        return losses | {
            "classes": self._class_loss(shown, step.fake.condition),
            "cycle": self.cycle_weight * (back - real.image).abs().mean(),
        }

    def _class_loss(self, shown: Tensor, asked: Tensor) -> Tensor:
        if self.condition.kind == "classes":
            return self.class_weight * F.cross_entropy(shown, asked)
        return self.class_weight * attribute_loss(shown, asked)

    def pictures(
        self, positions: range, seed: int | None = None, data: Any = None
    ) -> dict[str, Tensor]:
        """Some images of the data, and a column for each attribute or class they are given."""
        rows = max(len(positions) // self.columns, 1)  # as many outputs as there are positions
        items = self.task.held_out_at(positions[:rows], data)
        return self.each_edit(items.to(self.device))
