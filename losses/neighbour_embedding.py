"""Neighbour embedding: images are to be neighbours where their latents are.

N.-T. Tran, T.-A. Bui, N.-M. Cheung. "Improving GAN with Neighbors Embedding and Gradient Matching"
(GN-GAN), AAAI 2019, arXiv 1811.01333.

t-SNE turned round: the low-dimensional points, the latents, are given, and the generator has to lay
out the images so that the probabilities of being neighbours agree. Different latents then cannot
share an image. No code of the paper was released; what the abstract leaves open is an option here.
"""

from typing import Literal

import torch
from torch import Tensor

from saddlepoint.items import Items
from saddlepoint.losses.schedule import Schedule
from saddlepoint.losses.term import Step, Term
from saddlepoint.ranks import of_all_ranks
from saddlepoint.schema import Count, checked

Distance = Literal["squared", "plain"]

#: Least variance of distances: what points that all coincide are divided by.
LEAST_VARIANCE = 1e-8
#: Rounding of an inner product, in units of the last place.
ROUNDING = 8


def squared_distances(points: Tensor) -> Tensor:
    """Squared Euclidean distances (N, N), float32, of points (N, ...); the diagonal is 0.

    From the Gram matrix of centred points, so that what cancels is small. What is no larger than
    its rounding is 0, with gradient 0: the points coincide.
    """
    points = points.flatten(1).float()
    with torch.autocast(points.device.type, enabled=False):
        points = points - points.mean(0)
        gram = points @ points.T
        squares = gram.diagonal()
        sums = squares[:, None] + squares[None, :]
        distances = sums - 2 * gram
    rounding = ROUNDING * torch.finfo(distances.dtype).eps * sums
    return distances.masked_fill(distances <= rounding, 0).fill_diagonal_(0)


def log_neighbour_probabilities(points: Tensor, distance: Distance = "squared") -> Tensor:
    """Log p_ij (N, N), float32, of N points being neighbours; -inf on the diagonal.

        k_ij = (1 + d_ij / (2 sigma^2))^-1,  p_i|j = k_ij / sum_m k_mj,
        p_ij = (p_i|j + p_j|i) / (2 N),  which sum to 1

    with sigma^2 the variance of the Euclidean distances of all pairs, a constant of the gradient.

    Args:
        points: (N, ...), N >= 2.
        distance: d is the "squared" Euclidean distance, with which p does not change if the points
            are scaled, or the "plain" one.
    """
    squared = squared_distances(points)
    n = len(squared)
    themselves = torch.eye(n, dtype=torch.bool, device=squared.device)
    variance = _variance_of_pairs(squared.detach().sqrt(), themselves) + LEAST_VARIANCE
    if distance == "plain":
        # The root has no derivative at 0, where points coincide: there it is taken to be 0.
        apart = squared > 0
        distances = squared.where(apart, torch.ones_like(squared)).sqrt().where(apart, squared)
    else:
        distances = squared
    log_kernel = -torch.log1p(distances / (2 * variance))
    conditional = log_kernel.masked_fill(themselves, -torch.inf).softmax(dim=0)  # over i in p_i|j
    joint = (conditional + conditional.T) / (2 * n)
    return joint.masked_fill(themselves, 1).log().masked_fill(themselves, -torch.inf)


def neighbour_divergence(latents: Tensor, images: Tensor, distance: Distance = "squared") -> Tensor:
    """KL(P || Q) = sum_ij p_ij log (p_ij / q_ij), a scalar of at least 0.

    Args:
        latents: (N, ...), whose neighbours are P.
        images: (N, ...), whose neighbours are Q.
        distance: as of `log_neighbour_probabilities`.
    """
    log_p = log_neighbour_probabilities(latents, distance)
    log_q = log_neighbour_probabilities(images, distance)
    log_ratio = (log_p - log_q).masked_fill(log_p == -torch.inf, 0)
    return (log_p.exp() * log_ratio).sum()


def _variance_of_pairs(distances: Tensor, themselves: Tensor) -> Tensor:
    n = len(distances)
    pairs = n * (n - 1)
    deviations = distances - distances.sum() / pairs  # the diagonal adds 0
    return deviations.masked_fill(themselves, 0).square().sum() / pairs


class NeighbourEmbedding(Term):
    """KL(P || Q) between the neighbours of latents, P, and of the images made of them, Q.

    It has a part for the generator of any game, on its latents and fakes, and one for the encoder's
    update, where a game has one: on latents and codes together, 2 n points with their images. Which
    networks that trains is the game's setting. Points of an update are compared on each process by
    itself. Where all images coincide the gradient is 0: it keeps a generator from collapsing and
    does not wake one that has.

    Args:
        generator_weight: weight in the generator's update.
        encoder_weight: weight in the encoder's update.
        distance: "squared", or "plain" (Euclidean, which depends on the scale of the points).
        points: in the encoder's update, "both" latents and codes, or "random_only".
        space: where images are compared, in "pixels" or as the discriminator's local "features".
        every: as of `Term`.
    """

    @checked
    def __init__(
        self,
        generator_weight: float | Schedule = 1.0,
        encoder_weight: float | Schedule = 0.0,
        distance: Distance = "squared",
        points: Literal["both", "random_only"] = "both",
        space: Literal["pixels", "features"] = "pixels",
        every: Count = 1,
    ) -> None:
        super().__init__(generator_weight=generator_weight, every=every)
        self.encoder_weight = encoder_weight
        self.distance: Distance = distance
        self.points = points
        self.space = space

    def encoder_views(self, step: Step) -> dict[str, Items]:
        """What is compared, if it is the features."""
        if self.space == "pixels":
            return {}
        return {"fake": step.fake} | ({"rebuilt": step.rebuilt} if self.points == "both" else {})

    def encoder_loss(self, step: Step) -> Tensor:
        """KL(P || Q) of latents and codes."""
        latents, images = [step.inputs.latents], [self._images(step, "fake")]
        if self.points == "both":
            latents += [step.rebuilt.latents]
            images += [self._images(step, "rebuilt")]
        return self._divergence(torch.cat(latents), torch.cat(images))

    def generator_views(self, step: Step) -> dict[str, Items]:
        """The fakes, if features are compared."""
        return {"fake": step.fake} if self.space == "features" else {}

    def generator_loss(self, step: Step) -> Tensor:
        """KL(P || Q) of the update's latents."""
        return self._divergence(step.inputs.latents, self._images(step, "fake"))

    def _divergence(self, latents: Tensor, images: Tensor) -> Tensor:
        """KL(P || Q) of the whole batch: neighbours are on all ranks."""
        return neighbour_divergence(of_all_ranks(latents), of_all_ranks(images), self.distance)

    def _images(self, step: Step, name: str) -> Tensor:
        if self.space == "features":
            return step.seen[name].local
        return getattr(step, name).image
