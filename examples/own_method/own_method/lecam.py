"""A term with a memory: the LeCam regulariser.

H.-Y. Tseng, L. Jiang, C. Liu, M.-H. Yang, W. Yang. "Regularizing Generative Adversarial Networks
under Limited Data", CVPR 2021, arXiv 2104.03310, eq. 3.
"""

import torch
from torch import Tensor

from saddlepoint.losses.term import Step, Term
from saddlepoint.ranks import mean_of_all_ranks


class LeCam(Term):
    """E (D(x) - a_F)^2 + E (D(G(z)) - a_R)^2, with the logits' running means a_R and a_F.

    Args:
        discriminator_weight: lambda of the paper.
        decay: of the running means.
    """

    def __init__(self, discriminator_weight: float = 0.01, decay: float = 0.99) -> None:
        super().__init__(discriminator_weight=discriminator_weight)
        self.decay = decay
        self.register_buffer("anchors", torch.zeros(2))  # a_R and a_F; in checkpoints as a buffer

    def discriminator_loss(self, step: Step) -> Tensor:
        """The regulariser; moves the running means first."""
        real, fake = step.seen["real"].logits, step.seen["fake"].logits
        with torch.no_grad():
            means = mean_of_all_ranks(torch.stack([real.mean(), fake.mean()]))
            self.anchors.lerp_(means, 1 - self.decay)
        of_real, of_fake = self.anchors.clone()
        return (real - of_fake).square().mean() + (fake - of_real).square().mean()
