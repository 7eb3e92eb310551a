"""What few-shot translation adds to an adversarial game.

M.-Y. Liu et al., "Few-Shot Unsupervised Image-to-Image Translation", ICCV 2019, arXiv 1905.01723;
`NVlabs/FUNIT`.
"""

from typing import Literal

from torch import Tensor

from saddlepoint.losses.gradient_penalty import Score, input_gradient, zero_centred
from saddlepoint.ranks import mean_of_all_ranks


def real_gradient_penalty(
    score: Score, real: Tensor, form: Literal["per_sample", "reference"] = "per_sample"
) -> Tensor:
    """E ||g(x)||^2 on reals (B, *shape).

    Args:
        score: maps reals to logits (B, 1), of a map of logits the mean.
        real: the reals.
        form: "reference" differentiates the mean over the batch, as the released code does, and so
            is smaller by B^2: it depends on the batch, and on the number of devices it is divided
            among.
    """
    penalty = zero_centred(input_gradient(score, real))
    return penalty if form == "per_sample" else penalty / len(real) ** 2


def feature_matching(features: Tensor, of_reals: Tensor) -> Tensor:
    """Mean |m(phi(fake)) - 1/K sum_k m(phi(real_k))|, m the mean over positions.

    Args:
        features: maps phi (n, c, h, w) of fakes.
        of_reals: maps (n K, c, h, w) of the K reals of each, in a row.
    """
    wanted = of_reals.mean((2, 3)).unflatten(0, (len(features), -1)).mean(1)
    return (features.mean((2, 3)) - wanted).abs().mean()


def masked_change(image: Tensor, original: Tensor, kept: Tensor) -> Tensor:
    """Mean |image - original| over the pixels to be kept, of all ranks together.

    Args:
        image: (n, c, h, w).
        original: (n, c, h, w).
        kept: (n, 1, h, w), 1 where nothing shall change and 0 elsewhere.
    """
    weights = kept.expand_as(image)
    change = ((image - original).abs() * weights).sum()
    return change / mean_of_all_ranks(weights.sum()).clamp(min=1)
