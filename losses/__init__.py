"""Adversarial losses, gradient penalties, and the terms that stack on any GAN.

For any training loop: nothing but torch is imported, and nothing here knows of a trainer. All
losses take logits of any discriminator, large for what it takes for real:

    loss, r1, r2 = losses.RelativisticPairing(), losses.R1(), losses.R2()
    penalty = r1(network, real, fake) + r2(network, real, fake)
    of_discriminator = loss.discriminator(network(real), network(fake.detach())) + gamma * penalty
    of_generator = loss.generator(network(fake), network(real))

`Adversary` does that for both players, with any of the terms.
"""

from saddlepoint.items import Items
from saddlepoint.losses.adversarial import (
    AdversarialLoss,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    RelativisticPairing,
    ScoreMatching,
    Wasserstein,
)
from saddlepoint.losses.adversary import Adversary
from saddlepoint.losses.dag import DAG
from saddlepoint.losses.gradient_matching import GradientMatching
from saddlepoint.losses.gradient_penalty import (
    R1,
    R2,
    GradientPenalty,
    WassersteinGradientPenalty,
    ZeroCentredGradientPenalty,
    input_gradient,
)
from saddlepoint.losses.infomax import InfoMax
from saddlepoint.losses.multi_class import MultiClassMatch, MultiClassMinimax
from saddlepoint.losses.neighbour_embedding import NeighbourEmbedding
from saddlepoint.losses.rotation import Rotation
from saddlepoint.losses.schedule import Piecewise
from saddlepoint.losses.term import Step, Term

__all__ = [
    "DAG",
    "R1",
    "R2",
    "AdversarialLoss",
    "Adversary",
    "GradientMatching",
    "GradientPenalty",
    "Hinge",
    "InfoMax",
    "Items",
    "LeastSquares",
    "Minimax",
    "MultiClassMatch",
    "MultiClassMinimax",
    "NeighbourEmbedding",
    "NonSaturating",
    "Piecewise",
    "RelativisticPairing",
    "Rotation",
    "ScoreMatching",
    "Step",
    "Term",
    "Wasserstein",
    "WassersteinGradientPenalty",
    "ZeroCentredGradientPenalty",
    "input_gradient",
]
