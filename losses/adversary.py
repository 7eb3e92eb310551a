"""The losses of a game for a training loop of one's own, around any discriminator."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import AdversarialLoss, Hinge
from saddlepoint.losses.term import Step, Term, Terms
from saddlepoint.losses.views import look_together
from saddlepoint.losses.watched import Seen, Watched
from saddlepoint.randomness import Draws

#: Images, or items: ``image``, and ``condition`` where the discriminator takes one.
Images = Tensor | Items


class Adversary(nn.Module):
    """A discriminator, an adversarial loss, and terms; both players' losses in one call each.

        adversary = Adversary(network, RelativisticPairing(), {"r1": R1(1.0), "r2": R2(1.0)})
        optimizer = torch.optim.Adam(adversary.parameters(), 2e-4, betas=(0.0, 0.9))
        ...
        sum(adversary.discriminator(real, fake).values()).backward()   # then step, and
        sum(adversary.generator(fake, real).values()).backward()       # the generator's own step

    Its parameters are the discriminator's and those of the terms' heads: one optimiser trains them.
    `discriminator` detaches the fakes, `generator` leaves no gradient on the discriminator, and
    gradient penalties are computed in float32 under autocast too.

    Args:
        network: maps images (n, *shape), and conditions if the items have some, to logits (n, ...):
            one for an image, or a map.
        loss: the adversarial loss; `Hinge` by default.
        terms: what stacks on it, by name, such as ``{"r1": R1(10.0)}``.
        output: the network's last layer; for terms that read features, as is all that follows.
        local: a layer of the network whose output is a feature map.
        example: a few images, of which the sizes of the features are read.
        iterations: length of the training, where weights of terms are schedules.
        together: whether one pass looks at reals and fakes; a network with batch norm gets a pass
            for each.
        spectral_norm: whether the terms' heads have it.

    Attributes:
        iteration: updates of the generator so far; set it where training is taken up again.

    Raises:
        UserError: a term lacks the features it reads, or a gradient penalty is to be taken through
            batch norm.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: AdversarialLoss | None = None,
        terms: Mapping[str, Term] | None = None,
        *,
        output: nn.Module | None = None,
        local: nn.Module | None = None,
        example: Tensor | None = None,
        iterations: int = 1,
        together: bool = True,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.watched = Watched(network, output, local, example, spectral_norm=spectral_norm)
        self.loss = loss or Hinge()
        self.terms = Terms(terms or {}, self.watched)
        self.terms.refuse_unheard(("discriminator", "generator"))
        self.together = together and not self.watched.mixes_samples
        self.iterations, self.iteration = iterations, 0

    def discriminator(self, real: Images, fake: Images) -> dict[str, Tensor]:
        """What the discriminator minimises: named, weighted scalars, to be summed.

        Args:
            real: images (n, *shape), or items.
            fake: images (m, *shape), or items; no gradient flows into them.
        """
        real, fake = _items(real), _items(fake).map(Tensor.detach)
        step = self._step(fake, [real])
        self._look("discriminator", step, {"real": real, "fake": fake})
        logits = step.seen["real"].logits, step.seen["fake"].logits
        losses = {"adversarial": self.loss.discriminator(*logits)}
        return losses | self.terms.losses("discriminator", step)

    def generator(
        self, fake: Images, real: Images | None = None, latents: Tensor | None = None
    ) -> dict[str, Tensor]:
        """What the generator (an auto-encoder, a student) minimises: named, weighted scalars.

        Args:
            fake: images (m, *shape), or items, with their gradients.
            real: images (n, *shape), or items, where the loss or a term compares with reals.
            latents: (m, d) that the fakes were made from, for terms that read them.

        Raises:
            UserError: reals are needed, and none are given.
        """
        sees_reals = self.loss.generator_sees_reals or self.terms.see_reals("generator")
        if sees_reals and real is None:
            raise UserError(
                "The generator's loss compares fakes with reals: call generator(fake, real)."
            )
        fake, reals = _items(fake), [] if real is None else [_items(real)]
        step = self._step(fake, reals, latents)
        views = {"fake": fake} | ({"real": reals[0]} if self.loss.generator_sees_reals else {})
        with without_gradients(self):
            self._look("generator", step, views)
            logits = [step.seen[name].logits for name in views]
            losses = {"adversarial": self.loss.generator(*logits)}
            losses |= self.terms.losses("generator", step)
        self.iteration += 1
        return losses

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """The discriminator's logits of images (n, *shape)."""
        return self.watched(images, condition).logits

    def _step(self, fake: Items, reals: Sequence[Items], latents: Tensor | None = None) -> Step:
        # Keyed like a game's, by a key that torch's global generator gives.
        key = int(torch.randint(2**62, ()))
        inputs = {} if latents is None else {"latents": latents}
        return Step(
            iteration=self.iteration,
            total_iterations=max(self.iterations, self.iteration + 1),
            draws=Draws(key, device=fake.image.device),
            inputs=Items(inputs),
            reals=reals,
            fake=fake,
        )

    def _look(self, player: str, step: Step, views: dict[str, Items]) -> None:
        """See all views of this update, those that the terms want included."""
        step.adversarial, step.logit = self.loss, self.watched.logit
        step.penalties = self.terms.penalties(player, step)
        step.views = views | self.terms.views(player, step)
        if len({"condition" in view for view in step.views.values()}) > 1:
            raise UserError("Reals or fakes have a condition and the others none: give both one.")
        if self.together:
            step.seen = look_together(self._judge, step.views, "image", "condition")
        else:
            step.seen = {name: self._judge(view) for name, view in step.views.items()}

    def _judge(self, view: Items) -> Seen:
        return self.watched(view.image, view.get("condition"))


def _items(images: Images) -> Items:
    return Items(image=images) if isinstance(images, Tensor) else images


@contextmanager
def without_gradients(module: nn.Module) -> Iterator[None]:
    """Let the parameters of a module take no gradients for a while."""
    taking = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in taking:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in taking:
            parameter.requires_grad_(True)
