"""What stacks: the step a term sees, and the contract a term keeps.

Papers in this field rarely invent a GAN; they add a term to one. A term names the *views* of the
images it wants the critic to look at (the rotated reals, say). The game looks at all views of all
terms at once, and every term then reads the features it needs from the step: nothing is computed
twice, and no term knows of another.
"""

from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, cast

from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import AdversarialLoss
from saddlepoint.losses.schedule import Schedule, at
from saddlepoint.randomness import Draws
from saddlepoint.schema import Count, checked

#: Maps images (n, *shape) and conditions to logits (n, 1), each of its own image alone.
Logit = Callable[..., Tensor]
#: An output layer: maps pooled vectors (n, d), or maps of them, to logits.
Head = Callable[[Tensor], Tensor]


@dataclass
class Step:
    """One update of one player, as its losses and terms see it.

    Attributes:
        iteration: finished iterations before this one; ``total_iterations`` is the run's length.
        draws: keyed random numbers of this update.
        inputs: what the generator is fed for its fakes.
        reals: fresh batches, as many as the player asks for, with ``image`` (n, *shape) in [-1, 1],
            the other fields of the data, and their ``condition`` where the game has one.
        fake: ``image`` and ``condition`` of the fakes, detached in a critic's update.
        rebuilt: where the game has an encoder, ``image`` (n, *shape) of the reals rebuilt, their
            codes as ``latents`` (n, d), and ``condition``.
        views: what the critic looks at, by the view's name; ``real`` and ``fake`` among them where
            this update compares them.
        seen: what the critic made of each view, by the view's name.
        logit: maps images (m, *shape) and conditions to logits (m, 1) in a float32 pass of its own,
            for penalties that differentiate the critic with respect to its input; with ``head=`` to
            those of another output layer.
        adversarial: the loss of the game.
        penalties: the gradient penalties of the game with their weights: whoever replays the game
            on other images replays them, too.
    """

    iteration: int
    total_iterations: int
    draws: Draws
    inputs: Items
    reals: Sequence[Items] = ()
    fake: Items = field(default_factory=Items)
    rebuilt: Items = field(default_factory=Items)
    views: dict[str, Items] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    logit: Logit = field(init=False)
    adversarial: AdversarialLoss = field(init=False)
    penalties: "list[tuple[float, Any]]" = field(default_factory=list)

    @property
    def real(self) -> Items:
        """The first batch of reals.

        Raises:
            RuntimeError: the player asks for none.
        """
        if not self.reals:
            raise RuntimeError("this update has no reals: its player asks for no batches of them")
        return self.reals[0]

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1)."""
        return self.iteration / self.total_iterations


class Attachable(Protocol):
    """What terms attach to: a discriminator that makes output layers like its own."""

    @property
    def local_channels(self) -> int:
        """Channels c of its local map (n, c, h, w)."""

    @property
    def pooled_features(self) -> int:
        """Length d of its pooled vector (n, d)."""

    @property
    def head(self) -> nn.Module:
        """Its own output layer."""

    @property
    def mixes_samples(self) -> bool:
        """Whether an image's logit depends on the images beside it."""

    def logits(
        self, pooled: Tensor, condition: Tensor | None = None, head: Head | None = None
    ) -> Tensor:
        """Logits (n, 1) of pooled vectors (n, d), by its own output layer or by ``head``."""

    def new_head(self, out_features: int) -> nn.Linear | nn.Conv2d:
        """An output layer for the pooled vector."""

    def new_local_head(self, out_channels: int) -> nn.Conv2d:
        """A pointwise output layer for the local map."""


class Term(nn.Module):
    """A loss term with a part for each player it concerns, weights, and the heads it needs.

    The part for a player is ``{player}_loss(step)``, with ``{player}_views(step)`` where it wants
    views of its own, ``{player}_weight``, and ``{player}_sees_reals`` where a player without reals
    needs a batch of them. Heads are made in `attach` and trained by the critic's optimiser; they
    read the features of views. Losses are returned unweighted; the game weighs them, and leaves out
    a part whose weight is 0 together with its views, so that weight 0 is exactly the game without
    the term.

    Args:
        discriminator_weight: weight of `discriminator_loss` in the discriminator's update.
        generator_weight: weight of `generator_loss` in the generator's update.
        every: a part counts in every so-manieth iteration only, and that many times as much (lazy
            regularisation, T. Karras et al., arXiv 1912.04958).
    """

    #: Whether it belongs to the game that is replayed on transformed images.
    is_penalty: ClassVar[bool] = False
    #: Whether the generator's part needs a batch of reals.
    generator_sees_reals: bool = False

    @checked
    def __init__(
        self,
        discriminator_weight: float | Schedule = 0.0,
        generator_weight: float | Schedule = 0.0,
        every: Count = 1,
    ) -> None:
        super().__init__()
        self.discriminator_weight = discriminator_weight
        self.generator_weight = generator_weight
        self.every = every

    def attach(self, discriminator: Attachable) -> None:
        """Make the heads, from ``discriminator.new_head`` and ``new_local_head``."""

    def fill(self, data: Any) -> None:
        """Take from the data module what the losses need and no checkpoint holds.

        Raises:
            UserError: the data lack it.
        """


class Terms(nn.ModuleDict):
    """The terms of a game by name; each gives the parts that concern a player.

    Args:
        terms: by name.
        discriminator: the network that their heads attach to.
    """

    def __init__(self, terms: Mapping[str, Term], discriminator: Attachable) -> None:
        super().__init__()
        for name, term in terms.items():
            _refuse_negative_weights(name, term)
            term.attach(discriminator)
            self[name] = term

    def items(self) -> ItemsView[str, Term]:
        """The terms by name."""
        return cast(ItemsView[str, Term], super().items())

    def fill(self, data: Any) -> None:
        """Let the terms take what they need from the data module."""
        for _, term in self.items():
            term.fill(data)

    def views(self, player: str, step: Step) -> dict[str, Items]:
        """What the terms want the critic to look at, beside what the game shows it."""
        views: dict[str, Items] = {}
        for _, term, _ in self._parts(player, step):
            wanted = getattr(term, f"{player}_views", None)
            views |= wanted(step) if wanted is not None else {}
        return views

    def losses(self, player: str, step: Step) -> dict[str, Tensor]:
        """Weighted losses of the player by the term's name."""
        losses = {}
        for name, term, weight in self._parts(player, step):
            loss = getattr(term, f"{player}_loss")(step)
            losses[name] = loss if weight == 1 else weight * loss
        return losses

    def penalties(self, player: str, step: Step) -> list[tuple[float, Term]]:
        """Weights and terms of the penalties among the player's parts."""
        return [(w, term) for _, term, w in self._parts(player, step) if term.is_penalty]

    def see_reals(self, player: str) -> bool:
        """Whether a part for this player needs a batch of reals."""
        return any(
            getattr(term, f"{player}_sees_reals", False)
            for term in self.values()
            if getattr(term, f"{player}_weight", 0.0) != 0
        )

    def idle(self, player: str, step: Step) -> list[Term]:
        """The terms that have no part for the player in this update."""
        parts = [term for _, term, _ in self._parts(player, step)]
        return [term for _, term in self.items() if term not in parts]

    def _parts(self, player: str, step: Step) -> Iterator[tuple[str, Term, float]]:
        for name, term in self.items():
            weight = at(getattr(term, f"{player}_weight", 0.0), step.progress)
            if weight and step.iteration % term.every == 0:
                yield name, term, weight * term.every

    def refuse_unheard(self, players: Sequence[str]) -> None:
        """Refuse terms none of whose parts concerns any of these players.

        Raises:
            UserError: names the first such term.
        """
        for name, term in self.items():
            if not any(hasattr(term, f"{player}_loss") for player in players):
                raise UserError(
                    f"The term {name} has no part for any of the players {', '.join(players)}:"
                    f" leave it out of terms=[...], or choose another gan."
                )


def _refuse_negative_weights(name: str, term: Term) -> None:
    """Refuse a term that would be maximised where its players mean to minimise it.

    Raises:
        UserError: names the weight.
    """
    for setting, weight in vars(term).items():
        player = setting.removesuffix("_weight")
        if player != setting and hasattr(term, f"{player}_loss"):
            lowest = min(at(weight, step / 100) for step in range(101))
            if not lowest >= 0:
                raise UserError(
                    f"The weight terms.{name}.{setting} is {lowest:g}, and a term with a negative"
                    " weight would be maximised: give at least 0."
                )
