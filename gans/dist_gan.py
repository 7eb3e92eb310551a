"""Dist-GAN: a GAN with an encoder, whose reconstructions the discriminator takes for real.

N.-T. Tran, T.-A. Bui, N.-M. Cheung. "Dist-GAN: An Improved GAN using Distance Constraints", ECCV
2018, arXiv 1803.08887; code: github.com/tntrung/gan.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saddlepoint.gans.game import MakeOptimizer, Player, in_mode
from saddlepoint.gans.gan import GAN
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.gans.tasks import FromImages
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import ScoreMatching
from saddlepoint.losses.schedule import Piecewise, Schedule, at
from saddlepoint.losses.term import Step
from saddlepoint.ranks import mean_of_all_ranks
from saddlepoint.schema import NotNegative, Positive, Share, checked

ADAM = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.9), fused=True)
#: Share of reconstructions among what the discriminator takes for real, as released.
RELEASED_SHARE = Piecewise([[0.0, 0.05], [0.5, 0.05], [0.75, 0.0]])


class DistGAN(GAN):
    """Encoder, then discriminator, then generator, each on fresh reals x and latents z.

    With x_f = G(z), x_r = G(E(x)), phi the discriminator's local features, flattened, and all
    means over batch and values:

        L_E = mean (phi(x) - phi(x_r))^2 + lambda_r (M_x - M_z)^2
            M_x = mean (phi(x_r) - phi(x_f)),  M_z = lambda_w mean (E(x) - z)
        L_D = (1 - w) L(x, x_f) + w L(x_r, x_f),  L the adversarial loss
        L_G = | E s(x) - E s(x_f) |  (`ScoreMatching`)

    A reconstruction is never better than the data, so that calling it real slows the discriminator
    down. The distance term ties differences of images to differences of latents, against collapse.
    Score and gradient matching, neighbour embedding and so on stack as terms; so does the paper's
    gradient penalty, which a discriminator with spectral norm is better off without.

    Args:
        encoder: images to codes (n, latent_dim).
        generator: latents or codes to images.
        discriminator: images to `Features`.
        latent_prior: "uniform" for U(-1, 1), "normal" for N(0, 1).
        n_dis: discriminator updates per iteration.
        encoder_trains: whose weights the encoder's loss trains: "encoder", "generator", or "both"
            (as released for MNIST).
        reconstruction_space: "features" for phi, or "pixels" for mean (x - x_r)^2 in [-1, 1], four
            times what it is in [0, 1].
        distance_weight: lambda_r; 0 leaves the term out.
        distance_scale: lambda_w; null for sqrt(latent_dim / size of phi).
        reconstruction_share: w, a number or a schedule; null for the released one, 0.05 up to half
            of the run, falling to 0 at three quarters. With 0 no image is rebuilt for it.
        encoder_optimizer: makes the optimiser of what the encoder's loss trains.
        discriminator_optimizer: makes the discriminator's.
        generator_optimizer: makes the generator's own.
        settings: of `GAN` and `Game`.
    """

    default_adversarial = ScoreMatching

    @checked
    def __init__(
        self,
        encoder: nn.Module,
        generator: Generator,
        discriminator: Discriminator,
        *,
        latent_prior: Literal["normal", "uniform"] = "uniform",
        n_dis: Annotated[int, Ge(1), Le(1000)] = 1,
        encoder_trains: Literal["encoder", "generator", "both"] = "encoder",
        reconstruction_space: Literal["features", "pixels"] = "features",
        distance_weight: NotNegative = 1.0,
        distance_scale: Positive | None = None,
        reconstruction_share: Share | Schedule | None = None,
        encoder_optimizer: MakeOptimizer = ADAM,
        discriminator_optimizer: MakeOptimizer = ADAM,
        generator_optimizer: MakeOptimizer = ADAM,
        **settings: Any,
    ) -> None:
        super().__init__(
            generator,
            discriminator,
            latent_prior=latent_prior,
            n_dis=n_dis,
            discriminator_optimizer=discriminator_optimizer,
            generator_optimizer=generator_optimizer,
            **settings,
        )
        self.encoder = encoder
        self.encoder_trains = encoder_trains
        self.reconstruction_space = reconstruction_space
        self.distance_weight = distance_weight
        self.distance_scale = distance_scale
        if reconstruction_share is None:
            reconstruction_share = RELEASED_SHARE
        self.reconstruction_share = reconstruction_share
        self.encoder_optimizer = encoder_optimizer

    def players(self) -> list[Player]:
        """Encoder, discriminator (with the heads of all terms), generator."""
        both = ("encoder", "generator")
        networks = both if self.encoder_trains == "both" else (self.encoder_trains,)
        return [Player("encoder", self.encoder_optimizer, networks), *super().players()]

    def encoder_loss(self, step: Step) -> dict[str, Tensor]:
        """Reconstruction, latent-data distance, and the terms' encoder parts."""
        step.fake = self.fakes(step.inputs)
        step.rebuilt = self.rebuild(step.real)
        views: dict[str, Items] = {}
        if self.reconstruction_space == "features":
            views |= {"real": step.real, "rebuilt": step.rebuilt}
        if self.distance_weight:
            views |= {"fake": step.fake, "rebuilt": step.rebuilt}
        self._look("encoder", step, views)
        if self.reconstruction_space == "features":
            target, rebuilt = step.seen["real"].local, step.seen["rebuilt"].local
        else:
            target, rebuilt = step.real.image, step.rebuilt.image
        losses = {"reconstruction": (target - rebuilt).square().mean()}
        if self.distance_weight:
            losses["distance"] = self.distance_weight * self._distance(step)
        return losses | self.terms.losses("encoder", step)

    def discriminator_loss(self, step: Step) -> dict[str, Tensor]:
        """Adversarial loss that takes reconstructions for real, and the discriminator's parts."""
        share = at(self.reconstruction_share, step.progress)
        with torch.no_grad():
            step.fake = self.fakes(step.inputs)
            views = {"real": step.real, "fake": step.fake}
            if share:
                step.rebuilt = views["rebuilt"] = self.rebuild(step.real)
        self._look("discriminator", step, views)
        logits = {name: step.seen[name].logits for name in views}
        loss = (1 - share) * self.adversarial.discriminator(logits["real"], logits["fake"])
        if share:
            on_rebuilt = self.adversarial.discriminator(logits["rebuilt"], logits["fake"])
            loss = loss + share * on_rebuilt
        return {"adversarial": loss} | self.terms.losses("discriminator", step)

    def rebuild(self, real: Items) -> Items:
        """What becomes of reals: ``image`` G(E(x)) (n, *shape), ``latents`` E(x), ``condition``."""
        codes = real.only("condition").but(latents=self.encode(real.image))
        # What is sampled later is made from latents: averages of batch norm are of latents alone.
        with averages_untouched(self.generator):
            return codes.but(image=self.generate(codes))

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, latent_dim), float32, of images (n, *shape)."""
        with self.autocast():
            codes = self.encoder(images)
        return codes.float()

    @torch.no_grad()
    def pictures(
        self, positions: range, seed: int | None = None, data: Any = None
    ) -> dict[str, Tensor]:
        """Images of the data, what becomes of them in training, and samples."""
        pictures = super().pictures(positions, seed, data)
        if data is None or self.condition is not None or len(self.generator.shape) != 3:
            return pictures
        images = FromImages().shown(positions, self.seed, data).image.to(self.device)
        # By the batch's statistics, as in training: the averages are of latents, not of codes.
        with in_mode(self.encoder, training=False), in_mode(self.generator, training=True):
            rebuilt = self.rebuild(Items(image=images)).image
        return {"input": images, "reconstruction": rebuilt, **pictures}

    def _distance(self, step: Step) -> Tensor:
        """(M_x - M_z)^2."""
        rebuilt, fake = step.seen["rebuilt"].local, step.seen["fake"].local
        latents = step.inputs.latents
        scale = self.distance_scale or (latents[0].numel() / fake[0].numel()) ** 0.5
        between_images = (rebuilt - fake).mean()
        between_latents = scale * (step.rebuilt.latents - latents).mean()
        return mean_of_all_ranks(between_images - between_latents).square()


@contextlib.contextmanager
def averages_untouched(network: nn.Module) -> Iterator[None]:
    """Leave the running averages of batch norms as they are, whatever passes through for a while.

    In training mode they normalise by the batch as always.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    following = [norm for norm in norms if norm.training and norm.track_running_stats]
    for norm in following:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in following:
            norm.track_running_stats = True
