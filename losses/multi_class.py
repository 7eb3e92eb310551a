"""Multi-class self-supervision: rotations of reals are classes, and "fake" is one class more.

N.-T. Tran, V.-H. Tran, N.-B. Nguyen, L. Yang, N.-M. Cheung. "Self-supervised GAN: Analysis and
Improvement with Multi-class Minimax Game" (MS-GAN), NeurIPS 2019, arXiv 1911.06997; and its
precursor by N.-T. Tran, V.-H. Tran, N.-B. Nguyen, N.-M. Cheung, "An Improved Self-supervised GAN
via Adversarial Training" (SS-Adv-GAN), arXiv 1905.05469.

SSGAN's classifier never sees a fake, so a generator that draws one image whose angle is obvious
plays the rotation task perfectly. With a class for fakes the classifier is a second discriminator,
and the generator has to match the data at every angle. There are two forms of the game, the
log-ratio one for the SSGAN backbone (`MultiClassMinimax`) and the matching one of the released code
(`MultiClassMatch`). In neither do rotated images enter the adversarial loss.

Below, u are the logits of a head on the discriminator's trunk, T_k turns an image by k quarters,
and classes are numbered from 0: angles 0 .. 3, then `FAKE`.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saddlepoint.items import Items
from saddlepoint.losses.rotation import (
    Rotation,
    rotate,
    rotate_by_quarters,
    rotation_labels,
    square,
)
from saddlepoint.losses.term import Attachable, Step, Term
from saddlepoint.schema import checked

#: Number of angles, which are classes 0 .. 3.
ANGLES = 4
#: Class of generated images.
FAKE = 4


class MultiClassMinimax(Rotation):
    """The minimax game of MS-GAN, on the rotated images of SSGAN's task.

        L_D = CE(u(T_k x), k) + CE(u(T_k G(z)), FAKE)
        L_G = CE(u(T_k G(z)), k) - CE(u(T_k G(z)), FAKE) = E[ u_FAKE - u_k ]

    with a quarter of the batch at each angle. Against the best classifier, L_G is
    KL(p_g || p_d) - I(T_k G(z); k) + log 4. It is unbounded below: watch it in the log.

    Args:
        discriminator_weight: lambda_d, 1.0.
        generator_weight: lambda_g, 0.2.
        rotate_fakes_in_d: whether L_D sees fakes at every angle (published) or upright. Upright
            ones are there anyway: one view less for the discriminator.
    """

    @checked
    def __init__(
        self,
        discriminator_weight: float = 1.0,
        generator_weight: float = 0.2,
        rotate_fakes_in_d: bool = True,
    ) -> None:
        super().__init__(discriminator_weight, generator_weight)
        self.rotate_fakes_in_d = rotate_fakes_in_d

    def attach(self, discriminator: Attachable) -> None:
        """Add an output layer: pooled features (n, d) to logits (n, 5), angles and "fake"."""
        self.head = discriminator.new_head(FAKE + 1)

    def discriminator_views(self, step: Step) -> dict[str, Items]:
        """The reals, and perhaps the fakes, a quarter of the batch at each angle."""
        views = super().discriminator_views(step)
        return views | super().generator_views(step) if self.rotate_fakes_in_d else views

    def discriminator_loss(self, step: Step) -> Tensor:
        """Cross-entropy of the angles of reals, plus that of fakes being fakes."""
        real = step.seen["rotated real"].pooled
        fake = step.seen["rotated fake" if self.rotate_fakes_in_d else "fake"].pooled
        angles = rotation_labels(len(real), real.device)
        on_real, on_fake = self.head(torch.cat([real, fake])).split([len(real), len(fake)])
        fakeness = F.log_softmax(on_fake, dim=1)[:, FAKE]
        return F.cross_entropy(on_real, angles) - fakeness.mean()

    def generator_loss(self, step: Step) -> Tensor:
        """Mean of u_FAKE - u_k over rotated fakes."""
        logits = self.head(step.seen["rotated fake"].pooled)
        angles = rotation_labels(len(logits), logits.device)
        return (logits[:, FAKE] - logits.gather(1, angles[:, None]).squeeze(1)).mean()


class MultiClassMatch(Term):
    """The matching game of SS-Adv-GAN, which is also that of the code released with MS-GAN.

        L_D = CE(u(x_mix), y_mix)
        L_G = | CE(u(T_k G(z)), k) - CE(u(T_k x), k) |     ("match")
        L_G =   CE(u(T_k G(z)), k)                         ("confuse")

    x_mix are n of the 5 n images that n reals at every angle and n upright fakes make, drawn
    without replacement; in L_G it is n of 4 n, the same images and angles for fakes and reals.
    Reals are a constant of L_G, which is 0, with gradient 0, where fakes are as hard to classify as
    reals. With several processes, each draws from its own images.

    Args:
        discriminator_weight: lambda_d; 0.5 to 1.0, by data set and networks.
        generator_weight: lambda_g; 0.01 to 1.0. With 0 the task helps the discriminator only.
        generator_task: "match" or "confuse".
        fake_class: whether fakes are a class of L_D; otherwise it is SSGAN's task on reals alone.
        rotate_fakes_in_d: whether fakes of L_D are rotated, a quarter of them by each angle;
            upright as released.
    """

    @checked
    def __init__(
        self,
        discriminator_weight: float = 0.5,
        generator_weight: float = 0.1,
        generator_task: Literal["match", "confuse"] = "match",
        fake_class: bool = True,
        rotate_fakes_in_d: bool = False,
    ) -> None:
        super().__init__(discriminator_weight, generator_weight)
        self.generator_task = generator_task
        self.generator_sees_reals = generator_task == "match"
        self.fake_class = fake_class
        self.rotate_fakes_in_d = rotate_fakes_in_d

    def attach(self, discriminator: Attachable) -> None:
        """Add an output layer: pooled features (n, d) to logits of 4 angles and perhaps "fake"."""
        self.head = discriminator.new_head(ANGLES + self.fake_class)

    def discriminator_views(self, step: Step) -> dict[str, Items]:
        """A mixed batch: n of the reals at every angle and the fakes."""
        classes = _at_every_angle(step.real)
        if self.fake_class:
            fake = step.fake
            if self.rotate_fakes_in_d:
                fake = fake.but(image=rotate_by_quarters(fake.image))
            classes = [*classes, fake]
        return {"mixed": _drawn(classes, _numbers(step, len(classes)))}

    def discriminator_loss(self, step: Step) -> Tensor:
        """Cross-entropy of the classes of the mixed batch."""
        return F.cross_entropy(self.head(step.seen["mixed"].pooled), step.views["mixed"].target)

    def generator_views(self, step: Step) -> dict[str, Items]:
        """Some of the fakes at every angle and, to match, the same ones of the reals."""
        numbers = _numbers(step, ANGLES)
        views = {"matching fake": _drawn(_at_every_angle(step.fake), numbers)}
        if self.generator_task == "match":
            views["matched real"] = _drawn(_at_every_angle(step.real), numbers)
        return views

    def generator_loss(self, step: Step) -> Tensor:
        """Cross-entropy of the angles of fakes, or how far it is from that of reals."""
        fake, target = step.seen["matching fake"].pooled, step.views["matching fake"].target
        if self.generator_task == "confuse":
            return F.cross_entropy(self.head(fake), target)
        real = step.seen["matched real"].pooled.detach()
        on_fake, on_real = self.head(torch.cat([fake, real])).chunk(2)
        return torch.abs(F.cross_entropy(on_fake, target) - F.cross_entropy(on_real, target))


def _numbers(step: Step, classes: int) -> Tensor:
    """Draw n of the ``classes`` * n images of an update; image i of class k has number k n + i."""
    n = step.fake.count
    return step.draws.uniform(n, classes).flatten().argsort()[:n]


def _drawn(classes: list[Items], numbers: Tensor) -> Items:
    """The images with these numbers; ``target`` is the class of each."""
    n = classes[0].count
    drawn = Items.join([items.only("image", "condition") for items in classes]).part(numbers)
    return drawn.but(target=numbers // n)


def _at_every_angle(items: Items) -> list[Items]:
    return [items.but(image=rotate(square(items.image), k)) for k in range(ANGLES)]
