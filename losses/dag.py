"""DAG: a game of its own for every transformation of the images.

N.-T. Tran, V.-H. Tran, N.-B. Nguyen, T.-K. Nguyen, N.-M. Cheung. "On Data Augmentation for GAN
Training", IEEE Transactions on Image Processing, 2021, arXiv 2006.05338.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.items import Items
from saddlepoint.losses.term import Attachable, Step, Term
from saddlepoint.losses.total import total
from saddlepoint.losses.transformations import IDENTITY, POLICIES, Policy, Transformation
from saddlepoint.randomness import Draws
from saddlepoint.schema import checked


class Branch(NamedTuple):
    """One of the games, of weight w_p / K_p: its head judges T(x) and T(G(z)), and nothing else."""

    transformation: Transformation
    head: nn.Module
    weight: float


class DAG(Term):
    """The base game once more for every transformation, each with a last layer of its own.

    With F_D(head; x, x') and F_G(head; x') the losses of the base game, its gradient penalties
    included, on reals x and fakes x' judged by one head,

        discriminator:  sum_p w_p / K_p  sum_k F_D(head_pk; T_pk(x), T_pk(G(z)))
        generator:      sum_p w_p / K_p  sum_k F_G(head_pk; T_pk(G(z)))

    over policies p with transformations T_p1 .. T_pK, of which T_p1 is the identity. Reals and
    fakes of a head share their transformation, so that the generator still learns the distribution
    of the images as they are. Random transformations draw new parameters for each image.

    The released variants: identity_head="own" is that of the PyTorch and TensorFlow modules, "main"
    that of the BigGAN and CycleGAN examples; include_identity=False is the form ascribed to the
    paper, whose text was not at hand.

    Args:
        discriminator_weight: lambda_u of the paper.
        generator_weight: lambda_v of the paper.
        policies: names in `losses.transformations.POLICIES`, or lists of transformations that begin
            with the identity.
        policy_weights: w_p of each policy; all 1 by default.
        include_identity: whether the game on images as they are is played again. If not, K_p counts
            the other transformations only.
        identity_head: who judges them: a head of its own ("own"), or the discriminator's ("main"),
            whose game then merely weighs 1 + lambda sum_p w_p / K_p.

    Raises:
        UserError: a policy, or an argument that does not fit the others.
    """

    @checked
    def __init__(
        self,
        discriminator_weight: float = 0.2,
        generator_weight: float = 0.2,
        policies: Policy | Sequence[Policy | Sequence[Transformation]] = ("rotation",),
        policy_weights: Sequence[float] | None = None,
        include_identity: bool = True,
        identity_head: Literal["own", "main"] = "own",
    ) -> None:
        super().__init__(discriminator_weight, generator_weight)
        policies = [policies] if isinstance(policies, str) else policies
        self.policies = [
            [t for t in _transformations(policy) if include_identity or t != IDENTITY]
            for policy in policies
        ]
        if not policies or not all(self.policies):
            raise UserError("The dag term has nothing to transform by: add policies=[rotation].")
        self.policy_weights = [1.0] * len(policies) if policy_weights is None else policy_weights
        if len(self.policy_weights) != len(policies):
            raise UserError(
                f"The dag term has {len(policies)} policies and {len(self.policy_weights)}"
                " policy_weights: give one weight for each policy, or leave policy_weights out."
            )
        self.identity_head = identity_head

    def attach(self, discriminator: Attachable) -> None:
        """Add an output layer like the discriminator's own for each transformation."""
        self._logits = discriminator.logits
        self.heads = nn.ModuleList()
        # In plain lists, so that the main head stays the discriminator's alone.
        self._policies: list[list[Branch]] = []
        for policy, weight in zip(self.policies, self.policy_weights, strict=True):
            branches = []
            for transformation in policy:
                if transformation == IDENTITY and self.identity_head == "main":
                    head = discriminator.head
                else:
                    head = discriminator.new_head(1)
                    self.heads.append(head)
                branches.append(Branch(transformation, head, weight / len(policy)))
            self._policies.append(branches)
        self._branches = [branch for branches in self._policies for branch in branches]

    def discriminator_views(self, step: Step) -> dict[str, Items]:
        """Reals and fakes under every transformation."""
        return self._views(step.draws, real=step.real, fake=step.fake)

    def discriminator_loss(self, step: Step) -> Tensor:
        """Weighted sum of F_D over all branches."""
        games = self._games(step.adversarial.discriminator, step, "real", "fake")
        for weight, penalty in step.penalties:
            games += self._penalties(weight, penalty, step)
        return total(games)

    def generator_views(self, step: Step) -> dict[str, Items]:
        """Fakes under every transformation, and reals where the base game's loss compares them."""
        if step.adversarial.generator_sees_reals:
            return self._views(step.draws, fake=step.fake, real=step.real)
        return self._views(step.draws, fake=step.fake)

    def generator_loss(self, step: Step) -> Tensor:
        """Weighted sum of F_G over all branches."""
        sides = ("fake", "real") if step.adversarial.generator_sees_reals else ("fake",)
        return total(self._games(step.adversarial.generator, step, *sides))

    def _games(self, loss: Callable[..., Tensor], step: Step, *sides: str) -> list[Tensor]:
        """What every policy adds: w_p / K_p times the sum of its branches' losses."""
        losses = iter([loss(*logits) for _, logits in self._judge(step, *sides)])
        return [
            branches[0].weight * total(next(losses) for _ in branches)
            for branches in self._policies
        ]

    def _views(self, draws: Draws, **sides: Items) -> dict[str, Items]:
        views: dict[str, Items] = {}
        for side, items in sides.items():
            if items.image.ndim != 4:
                raise UserError(
                    "The dag term transforms images, and these data are points: leave it out of"
                    " terms=[...], or choose another datamodule."
                )
            # Once for each name; the identity's view is the one the base game looks at anyway.
            once = {t.view(side): t for t in (b.transformation for b in self._branches)}
            views |= {name: items.but(image=t(items.image, draws)) for name, t in once.items()}
        return views

    def _judge(self, step: Step, *sides: str) -> list[tuple[Branch, tuple[Tensor, ...]]]:
        """Each branch with the logits (n, 1) of its own head on these sides."""
        sizes = [len(step.seen[side].pooled) for side in sides]
        pooled = [
            torch.cat([step.seen[branch.transformation.view(side)].pooled for side in sides])
            for branch in self._branches
        ]
        condition = Items.join([step.views[side].only("condition") for side in sides])
        k = len(self._branches)
        logits = self._logits(
            interleave(pooled),
            repeat(condition.get("condition"), k),
            heads_in_turn(self._branches),
        )
        parts = logits.unflatten(0, (-1, k)).unbind(1)
        return [(b, own.split(sizes)) for b, own in zip(self._branches, parts, strict=True)]

    def _penalties(self, weight: float, penalty: Any, step: Step) -> list[Tensor]:
        """The penalty of every policy: its mean over all branches, from one pass for them all."""
        losses = []
        for policy_weight, branches in zip(self.policy_weights, self._policies, strict=True):
            views = [branch.transformation.view for branch in branches]
            real, fake = (
                _interleaved([step.views[view(side)] for view in views])
                for side in ("real", "fake")
            )
            logit = partial(step.logit, head=heads_in_turn(branches))
            loss = penalty.between(real, fake, logit, step.draws)
            losses.append(policy_weight * weight * loss)
        return losses


def interleave(tensors: Sequence[Tensor]) -> Tensor:
    """Take the rows of k tensors (n, ...) in turn: (n k, ...), image by image.

    In this order the rows of one of several processes, and so their random numbers, are those that
    a single process would have there.
    """
    return torch.stack(tuple(tensors), dim=1).flatten(0, 1)


def _interleaved(views: Sequence[Items]) -> Items:
    shared = views[0].only("image", "condition")
    return Items({name: interleave([view[name] for view in views]) for name in shared})


def repeat(condition: Tensor | None, k: int) -> Tensor | None:
    """Conditions (n k, ...) of k interleaved tensors that share conditions (n, ...)."""
    return None if condition is None else interleave([condition] * k)


def heads_in_turn(branches: Sequence[Branch]) -> Callable[[Tensor], Tensor]:
    """Output layer that judges row i of interleaved features by the head of branch i mod k."""

    def head(pooled: Tensor) -> Tensor:
        rows = pooled.unflatten(0, (-1, len(branches))).unbind(1)
        return interleave([branch.head(own) for branch, own in zip(branches, rows, strict=True)])

    return head


def _transformations(policy: str | Sequence[Transformation]) -> tuple[Transformation, ...]:
    if isinstance(policy, str):
        if policy not in POLICIES:
            known = ", ".join(POLICIES)
            raise UserError(f"The dag term has no policy {policy}: choose from {known}.")
        return POLICIES[policy]
    if IDENTITY not in policy[:1]:
        raise UserError("A policy of the dag term begins with the identity: put it first.")
    return tuple(policy)
