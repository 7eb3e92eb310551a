"""A method of one's own, outside Saddlepoint: SNGAN whose logits of reals do not drift.

pip install -e examples/own_method
saddlepoint train hydra.searchpath=[pkg://own_method.conf] gan=drift_sngan network=lite
"""

from torch import Tensor

from saddlepoint.gans import SNGAN
from saddlepoint.losses.term import Step, Term


class Drift(Term):
    """The drift penalty of T. Karras et al., "Progressive Growing of GANs", ICLR 2018, appendix A.

    Only differences of logits matter to most losses; this keeps their level near 0.

    Args:
        discriminator_weight: epsilon_drift of the paper.
    """

    def __init__(self, discriminator_weight: float = 1e-3) -> None:
        super().__init__(discriminator_weight=discriminator_weight)

    def discriminator_loss(self, step: Step) -> Tensor:
        """Mean square of the logits of reals."""
        return step.seen["real"].logits.square().mean()


class DriftSNGAN(SNGAN):
    """SNGAN with the drift penalty."""

    defining_terms = {"drift": Drift}
