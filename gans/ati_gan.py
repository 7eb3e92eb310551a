"""ATI-GAN: an attribute is changed where it shows, by filling in that part of the image anew.

R. Durall, F.-J. Pfreundt, J. Keuper. "Local Facial Attribute Transfer through Inpainting", arXiv
2002.03040, 2020. Its code is not public and its losses could not be read; those here join the
attribute classifier and the gradient penalty of StarGAN (arXiv 1711.09020) to the global and the
local critic of J. Yu et al., "Generative Image Inpainting with Contextual Attention", CVPR 2018,
arXiv 1801.07892.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.gans.critic import Critic
from saddlepoint.gans.editing import Editing
from saddlepoint.gans.edits import LocalEdits
from saddlepoint.gans.game import MakeOptimizer, Player
from saddlepoint.gans.holes import Holes, RegionHoles
from saddlepoint.gans.masks import crop, windows
from saddlepoint.gans.networks.edits import Edits
from saddlepoint.gans.networks.inpainting import InpaintingGenerator, composed
from saddlepoint.gans.networks.stargan import StarGANDiscriminator
from saddlepoint.gans.stargan import STARGAN_ADAM
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import Wasserstein
from saddlepoint.losses.attributes import attribute_loss
from saddlepoint.losses.gradient_penalty import WassersteinGradientPenalty
from saddlepoint.losses.inpainting import l1, seam_variation, spatial_discount
from saddlepoint.losses.schedule import Schedule, at
from saddlepoint.losses.term import Step
from saddlepoint.losses.total import total
from saddlepoint.schema import Count, NotNegative, Share, checked


class ATIGAN(Editing):
    """The generator fills a hole; two critics judge the image, and a window around the hole.

    Outside the hole an output is the input, bit for bit. Since the generator does not see into the
    hole, the way back that StarGAN adds is the reconstruction itself, and not added once more.

    Args:
        generator: image, target and mask to the image filled in.
        discriminator: the global critic.
        local_discriminator: the local one; its ``window`` holds any hole.
        condition: attributes, and where they show.
        holes: where they are; the boxes of regions by default.
        reconstructed: share of the images that are to be filled in as they were.
        n_dis: updates of the critics per iteration.
        adversarial_weight: of what each critic says to the generator, or its schedule.
        class_weight: of the attributes in the generator's loss, or its schedule.
        shown_weight: of the attributes of reals in the critics' loss.
        global_class_weight: of the global critic's say in the generator's attributes; the local
            one's has weight 1.
        reconstruction_weight: lambda_rec, in the hole.
        context_weight: lambda_ctx, around it.
        variation_weight: lambda_tv, along the hole's border.
        discount: the reconstruction counts discount^d, d pixels from the hole's border.
        penalty_weight: lambda_gp of the critics' gradients in the hole.
        patches: what the penalty differentiates: the "mean" of a map of logits, or their "sum".
        discriminator_optimizer: makes the optimiser of both critics.
        generator_optimizer: makes the generator's.
        settings: of `gans.game.Game`.

    Raises:
        UserError: the condition is of another kind.
    """

    generator: InpaintingGenerator
    local_discriminator: StarGANDiscriminator
    condition: Edits
    task: LocalEdits

    @checked
    def __init__(
        self,
        generator: InpaintingGenerator,
        discriminator: StarGANDiscriminator,
        local_discriminator: StarGANDiscriminator,
        *,
        condition: Edits | None = None,
        holes: Holes | None = None,
        reconstructed: Share = 0.5,
        n_dis: Count = 5,
        adversarial_weight: NotNegative | Schedule = 1.0,
        class_weight: NotNegative | Schedule = 1.0,
        shown_weight: NotNegative = 1.0,
        global_class_weight: NotNegative = 0.5,
        reconstruction_weight: NotNegative = 10.0,
        context_weight: NotNegative = 1.0,
        variation_weight: NotNegative = 0.0,
        discount: Share = 1.0,
        penalty_weight: NotNegative = 10.0,
        patches: Literal["mean", "sum"] = "mean",
        discriminator_optimizer: MakeOptimizer = STARGAN_ADAM,
        generator_optimizer: MakeOptimizer = STARGAN_ADAM,
        **settings: Any,
    ) -> None:
        if not isinstance(condition, Edits):
            raise UserError("ATI-GAN changes attributes where they show: set condition=edits.")
        networks = {
            "generator": generator,
            "discriminator": discriminator,
            "local_discriminator": local_discriminator,
        }
        holes = holes or RegionHoles()
        holes.allowed(condition)  # refuses data without regions before anything is done
        super().__init__(networks, LocalEdits(condition, holes, reconstructed), **settings)
        self.critics = {
            "global": Critic(discriminator, self.autocast, patches=patches),
            "local": Critic(local_discriminator, self.autocast, patches=patches),
        }
        self.adversarial, self.penalty = Wasserstein(), WassersteinGradientPenalty()
        self.n_dis = n_dis
        self.adversarial_weight, self.class_weight = adversarial_weight, class_weight
        self.shown_weight = shown_weight
        self.class_weights = {"global": global_class_weight, "local": 1.0}
        self.reconstruction_weight, self.context_weight = reconstruction_weight, context_weight
        self.variation_weight, self.discount = variation_weight, discount
        self.penalty_weight = penalty_weight
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_optimizer = generator_optimizer

    def fill(self, data: Any) -> None:
        """As of `Game`.

        Raises:
            UserError: a hole is larger than what the local critic sees.
        """
        super().fill(data)
        side, window = self.task.holes.largest_side(data, self.condition), self._window
        if side > window:
            raise UserError(
                f"A hole in {data.spec.name} has a side of {side:.0f} px, and the local critic sees"
                f" {window}: set network.local_discriminator.window={math.ceil(side)}."
            )

    @property
    def _window(self) -> int:
        return self.local_discriminator.window

    def players(self) -> list[Player]:
        """Both critics together, then the generator; each on fresh reals."""
        return [
            Player(
                "discriminator",
                self.discriminator_optimizer,
                networks=("discriminator", "local_discriminator"),
                updates=self.n_dis,
                judged=1,
            ),
            Player("generator", self.generator_optimizer),
        ]

    def discriminator_loss(self, step: Step) -> dict[str, Tensor]:
        """Of each critic: attributes of reals, Wasserstein loss, and gradient penalty in the hole.

        As long as the generator does not ask what they think of fakes, they learn attributes alone.
        """
        mask, real = step.inputs.mask, step.real
        views = {"real": self._seen_by_each(real.image, mask)}
        is_asked = at(self.adversarial_weight, step.progress) > 0
        if is_asked:
            with torch.no_grad():
                views["fake"] = self._seen_by_each(self.generate(step.inputs), mask)
        holes = self._seen_by_each(mask, mask)
        losses = {}
        for name, critic in self.critics.items():
            images = {side: view[name] for side, view in views.items()}
            seen = critic.look({side: Items(image=image) for side, image in images.items()})
            shown = critic.network.shows(seen["real"].pooled)
            losses[f"{name} classes"] = self.shown_weight * attribute_loss(shown, real.condition)
            if is_asked:
                logits = seen["real"].logits, seen["fake"].logits
                losses[f"{name} adversarial"] = self.adversarial.discriminator(*logits)
                penalty = self.penalty.penalty(
                    critic.logit, images["real"], images["fake"], step.draws, holes[name]
                )
                losses[f"{name} gradient_penalty"] = self.penalty_weight * penalty
        return losses

    def generator_loss(self, step: Step) -> dict[str, Tensor]:
        """Of what is drawn: reconstruction and context; of the whole: what both critics say.

        As long as the critics are not asked, every hole is to be filled in as it was.
        """
        adversarial_weight = at(self.adversarial_weight, step.progress)
        class_weight = at(self.class_weight, step.progress)
        if not adversarial_weight and not class_weight:
            step.inputs = step.inputs.but(target=step.real.condition)
            return self._likeness(self.painted(step.inputs), step)
        image, mask, target = step.inputs.image, step.inputs.mask, step.inputs.target
        drawn = self.painted(step.inputs)
        losses = self._likeness(drawn, step)
        fake = composed(drawn[-1], image, mask)
        changeable = self.task.holes.allowed(self.condition).to(target)[step.inputs.region]
        for name, view in self._seen_by_each(fake, mask).items():
            seen = self.critics[name].look({"fake": Items(image=view)})["fake"]
            shown = self.critics[name].network.shows(seen.pooled)
            classes = self.class_weights[name] * attribute_loss(shown, target, changeable)
            losses[f"{name} classes"] = class_weight * classes
            if adversarial_weight:
                adversarial = self.adversarial.generator(seen.logits)
                losses[f"{name} adversarial"] = adversarial_weight * adversarial
        return losses

    def _likeness(self, drawn: list[Tensor], step: Step) -> dict[str, Tensor]:
        """Of each step: to the image, in holes to be as they were and around; and at seams."""
        image, mask = step.inputs.image, step.inputs.mask
        as_it_was = (step.inputs.target == step.real.condition).all(1)
        rebuilt = mask * as_it_was[:, None, None, None]
        weight = None if self.discount == 1 else spatial_discount(mask, self.discount)
        inside = total(l1(each, image, rebuilt, weight) for each in drawn)
        around = total(l1(each, image, 1 - mask) for each in drawn)
        losses = {
            "reconstruction": self.reconstruction_weight * inside,
            "context": self.context_weight * around,
        }
        if self.variation_weight:
            seam = seam_variation(composed(drawn[-1], image, mask), mask)
            losses["variation"] = self.variation_weight * seam
        return losses

    def painted(self, inputs: Items) -> list[Tensor]:
        """What the generator's steps draw (n, *shape), float32, in the hole and around it."""
        with self.autocast():
            return self.generator.painted(inputs.image, inputs.target, inputs.mask)

    def _seen_by_each(self, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """What each critic is shown of images (n, c, h, w)."""
        local = crop(images, windows(mask, self._window), self._window)
        return {"global": images, "local": local}

    def pictures(
        self, positions: range, seed: int | None = None, data: Any = None
    ) -> dict[str, Tensor]:
        """Images, what the generator sees of them, and what comes out."""
        inputs = self.inputs_at(positions, seed, data)
        masked = torch.where(inputs.mask > 0.5, self.generator.fill, inputs.image)
        return {"input": inputs.image, "mask": masked, "output": self.sample(inputs)}
