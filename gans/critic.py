"""One judge: a discriminator, how it looks at the views of an update, and its logit."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Generic, Literal, TypeVar

from torch import Tensor

from saddlepoint.gans.networks.discriminator import Discriminator, Features, Head
from saddlepoint.gans.networks.joint_spectral_norm import JointSpectralNorm
from saddlepoint.items import Items
from saddlepoint.losses.views import look_together

Network = TypeVar("Network", bound=Discriminator)


class Critic(Generic[Network]):
    """Looks at views through a discriminator; a game has as many critics as it needs.

    Args:
        network: the discriminator; the game trains it.
        autocast: context of its passes, as of `gans.game.Game.autocast`.
        joint_views: whether one pass looks at all views together. It is faster by a factor; the
            spectral norms of a game whose ``power_iterations`` are "per_pass" then make one where
            passes of their own (False, the published behaviour) make one per view. A discriminator
            with batch norm always gets separate passes.
        patches: what `logit` makes of a map of logits: their mean, whatever its size, or as in some
            published code their sum.
    """

    def __init__(
        self,
        network: Network,
        autocast: Callable[[], AbstractContextManager],
        *,
        joint_views: bool = True,
        patches: Literal["mean", "sum"] = "mean",
    ) -> None:
        self.network, self.autocast, self.patches = network, autocast, patches
        self.joint_views = joint_views and not network.mixes_samples
        self._spectral_norms = JointSpectralNorm(network)

    def look(self, views: Mapping[str, Items]) -> dict[str, Features]:
        """Features of every view, float32.

        Args:
            views: {name: items with ``image`` (n, *shape), and ``condition`` if it depends on one}.
        """
        if not self.joint_views or not views:
            return {name: self._judge(view) for name, view in views.items()}
        fields = ("image", "condition") if self.network.is_conditional else ("image",)
        return look_together(self._judge, views, *fields)

    def logit(
        self, images: Tensor, condition: Tensor | None = None, head: Head | None = None
    ) -> Tensor:
        """Logits (n, 1) from a pass in float32 throughout, for penalties on input gradients.

        The output layer is the discriminator's own, or ``head``.
        """
        asked = condition if self.network.is_conditional else None
        with self._spectral_norms.computed():
            _, pooled = self.network.features(images)
            logits = self.network.logits(pooled, asked, head)
        if logits.ndim == 2:
            return logits
        each = logits.flatten(1)
        return (each.mean if self.patches == "mean" else each.sum)(1, keepdim=True)

    def _judge(self, view: Items) -> Features:
        asked = view.get("condition") if self.network.is_conditional else None
        with self._spectral_norms.computed(), self.autocast():
            features = self.network(view.image, asked)
        return Features(*(feature.float() for feature in features))
