"""The generator is told whether its images show what was asked of them, by a frozen encoder.

With f = F(E(G(z, c))), where E is the encoder of the representation and F its fixed map to vectors:
-log p(c | f) for clusters c, and 1 - cos(f, c) for features.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.losses.schedule import Schedule
from saddlepoint.losses.term import Step, Term
from saddlepoint.schema import Positive, checked


class LatentConsistency(Term):
    """Cross-entropy of clusters by their distances, or the cosine of features.

    The gradient passes through the encoder to the images and leaves the encoder as it is.

    Args:
        generator_weight: lambda.
        temperature: tau; logits of clusters are -distance^2 / tau.
    """

    @checked
    def __init__(
        self, generator_weight: float | Schedule = 1.0, temperature: Positive = 1.0
    ) -> None:
        super().__init__(generator_weight=generator_weight)
        self.temperature = temperature

    def fill(self, data: Any) -> None:
        """Take the encoder, the map and the centres.

        Raises:
            UserError: the data have no conditions of a representation, or its encoder gives no
                gradient.
        """
        assigner = getattr(data, "assigner", None)
        if assigner is None:
            raise UserError(
                "The term latent_consistency needs conditions of a representation: choose"
                " conditioner=cluster, or leave the term out."
            )
        assigner.load("cpu")
        images = torch.zeros(2, *data.spec.shape, requires_grad=True)
        try:
            passes = assigner.vectors(images).requires_grad
        except Exception:  # an extractor that takes whole numbers only
            passes = False
        if not passes:
            raise UserError(
                "The term latent_consistency needs an encoder that gives gradients, and"
                f" {assigner.encoder.name} gives none: choose representation=simclr, pica or"
                " deep_cluster."
            )
        # In a tuple, so that it is no part of the game: nothing in it is trained or kept.
        self._judge = (assigner, data.mode)

    def generator_loss(self, step: Step) -> Tensor:
        """How far the fakes are from what was asked of them."""
        images, asked = step.fake.image, step.fake.condition
        assigner, mode = self._judge
        vectors = assigner.to(images.device).vectors(images)
        if mode == "feature":
            return 1 - F.cosine_similarity(vectors, asked).mean()
        return F.cross_entropy(-assigner.distances(vectors) / self.temperature, asked)
