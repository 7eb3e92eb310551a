"""The adversarial auto-encoder.

A. Makhzani, J. Shlens, N. Jaitly, I. Goodfellow, B. Frey. "Adversarial Autoencoders", arXiv
1511.05644, 2015.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from saddlepoint.gans.critic import Critic
from saddlepoint.gans.game import Game, MakeOptimizer, Player, in_mode
from saddlepoint.gans.gan import ADAM
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.generator import Generator
from saddlepoint.gans.tasks import FromImages, FromLatents
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import AdversarialLoss, Minimax
from saddlepoint.losses.term import Step
from saddlepoint.schema import NotNegative, checked


class AAE(Game):
    """An auto-encoder whose codes a discriminator cannot tell from the prior of latents.

    Three players, each on fresh reals x: the auto-encoder rebuilds x, the discriminator tells
    latents z (its reals) from codes E(x), and the encoder makes it fail. The decoder is a generator
    then: G(z) looks like the data.

    Args:
        encoder: images to codes (n, latent_dim).
        generator: latents or codes to images.
        discriminator: judges codes.
        latent_prior: of the latents, and so of the codes; "normal" or "uniform".
        adversarial: the loss on codes.
        adversarial_weight: of the encoder's part in it.
        autoencoder_optimizer: makes the optimiser of encoder and generator together.
        discriminator_optimizer: makes the discriminator's.
        encoder_optimizer: makes the encoder's own, with which it plays against the discriminator.
        settings: of `Game`.
    """

    sampled_networks = ("encoder", "generator")

    encoder: nn.Module

    @checked
    def __init__(
        self,
        encoder: nn.Module,
        generator: Generator,
        discriminator: Discriminator,
        *,
        latent_prior: Literal["normal", "uniform"] = "normal",
        adversarial: AdversarialLoss | None = None,
        adversarial_weight: NotNegative = 1.0,
        autoencoder_optimizer: MakeOptimizer = ADAM,
        discriminator_optimizer: MakeOptimizer = ADAM,
        encoder_optimizer: MakeOptimizer = ADAM,
        **settings: Any,
    ) -> None:
        networks = {"encoder": encoder, "generator": generator, "discriminator": discriminator}
        super().__init__(networks, FromLatents(generator.latent_dim, latent_prior), **settings)
        self.critic = Critic(discriminator, self.autocast)
        self.adversarial = adversarial or Minimax()
        self.adversarial_weight = adversarial_weight
        self.autoencoder_optimizer = autoencoder_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.encoder_optimizer = encoder_optimizer

    def players(self) -> list[Player]:
        """Auto-encoder, discriminator, encoder."""
        both = ("encoder", "generator")
        return [
            Player("autoencoder", self.autoencoder_optimizer, networks=both),
            Player("discriminator", self.discriminator_optimizer, judged=1),
            Player("encoder", self.encoder_optimizer),
        ]

    def autoencoder_loss(self, step: Step) -> dict[str, Tensor]:
        """E (x - G(E(x)))^2, the mean over images and values."""
        image = step.real.image
        rebuilt = self.generate(Items(latents=self.encode(image)))
        return {"reconstruction": (image - rebuilt).square().mean()}

    def discriminator_loss(self, step: Step) -> dict[str, Tensor]:
        """The adversarial loss; latents are real, codes are fake."""
        with torch.no_grad():
            codes = self.encode(step.real.image)
        seen = self.critic.look(
            {"latents": Items(image=step.inputs.latents), "codes": Items(image=codes)}
        )
        logits = seen["latents"].logits, seen["codes"].logits
        return {"adversarial": self.adversarial.discriminator(*logits)}

    def encoder_loss(self, step: Step) -> dict[str, Tensor]:
        """The adversarial loss of a generator of codes."""
        seen = self.critic.look({"codes": Items(image=self.encode(step.real.image))})
        loss = self.adversarial.generator(seen["codes"].logits)
        return {"adversarial": self.adversarial_weight * loss}

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, latent_dim), float32, of images (n, *shape)."""
        with self.autocast():
            codes = self.encoder(images)
        return codes.float()

    @torch.no_grad()
    def pictures(
        self, positions: range, seed: int | None = None, data: Any = None
    ) -> dict[str, Tensor]:
        """Images of the data, what becomes of them, and samples."""
        pictures = super().pictures(positions, seed, data)
        if data is None:
            return pictures
        images = FromImages().shown(positions, self.seed, data).image.to(self.device)
        with in_mode(self.sampled("encoder"), training=False) as encoder:
            codes = encoder(images)
        return {"input": images, "reconstruction": self.sample(Items(latents=codes)), **pictures}
