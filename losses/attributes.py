"""Whether images show the binary attributes that they should."""

import torch.nn.functional as F
from torch import Tensor


def attribute_loss(logits: Tensor, attributes: Tensor, counted: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, summed over attributes and averaged over images, as in StarGAN.

    Args:
        logits: (n, A).
        attributes: (n, A) of 0 and 1.
        counted: (n, A) of 0 and 1, those that count; all by default.
    """
    losses = F.binary_cross_entropy_with_logits(logits, attributes, reduction="none")
    if counted is not None:
        losses = losses * counted
    return losses.sum() / len(logits)
