"""GN-GAN: Dist-GAN with neighbour embedding and gradient matching.

N.-T. Tran, T.-A. Bui, N.-M. Cheung. "Improving GAN with Neighbors Embedding and Gradient Matching",
AAAI 2019, arXiv 1811.01333.

Not to be confused with the GAN of gradient *normalisation* (Y.-L. Wu et al., ICCV 2021), which is
abbreviated alike.
"""

from functools import partial
from typing import Any, Literal

from torch import nn

from saddlepoint.gans.dist_gan import DistGAN
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.losses.gradient_matching import GradientMatching
from saddlepoint.losses.neighbour_embedding import NeighbourEmbedding
from saddlepoint.schema import NotNegative, checked


class GNGAN(DistGAN):
    """Neighbours of latents in place of Dist-GAN's distance term, and slopes beside its scores.

        L_E = mean (x - x_r)^2 + lambda_r KL(P || Q), which trains encoder and generator
        L_G = | E s(x) - E s(x_f) | + gradient matching

    Args:
        encoder: images to codes (n, latent_dim).
        generator: latents or codes to images.
        discriminator: images to `Features`.
        encoder_trains: whose weights the encoder's loss trains: "encoder", "generator" or "both".
        reconstruction_space: "pixels", or "features" of the discriminator.
        distance_weight: of Dist-GAN's latent-data distance.
        settings: of `DistGAN`.
    """

    defining_terms = {
        "neighbour_embedding": partial(NeighbourEmbedding, 0.0, encoder_weight=1.0),
        "gradient_matching": GradientMatching,
    }

    @checked
    def __init__(
        self,
        encoder: nn.Module,
        generator: Generator,
        discriminator: Discriminator,
        *,
        encoder_trains: Literal["encoder", "generator", "both"] = "both",
        reconstruction_space: Literal["features", "pixels"] = "pixels",
        distance_weight: NotNegative = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(
            encoder,
            generator,
            discriminator,
            encoder_trains=encoder_trains,
            reconstruction_space=reconstruction_space,
            distance_weight=distance_weight,
            **settings,
        )
