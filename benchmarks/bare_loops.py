"""Published methods as bare PyTorch loops, the way a careful person writes them out.

Float32, torch's own spectral norm and Adam as they come, one discriminator call for reals and
fakes where there is no batch norm. No keys, schedules, moving averages, logs or checkpoints.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from saddlepoint.gans import GAN
from saddlepoint.gans.networks.downsampling import AveragePool, LearnedHalving
from saddlepoint.gans.networks.upsampling import UpConvolution, upsample

ADAM = {"lr": 2e-4, "betas": (0.0, 0.9)}
Iteration = Callable[[], None]


class Bare:
    """Networks and optimisers of one loop.

    Args:
        game: whose networks and heads to take over; it must not be trained any more.
        reals: images (n, *shape), the batches of one iteration.
    """

    def __init__(self, game: GAN, reals: Tensor) -> None:
        self.generator, self.discriminator = game.generator, game.discriminator
        self.heads = game.terms
        for network in (self.generator, self.discriminator, self.heads):
            with_ordinary_layers(network)
        self.n, self.n_dis, self.latents = game.batch_size, game.n_dis, game.generator.latent_dim
        self.batches = cycle(reals.contiguous().split(self.n))
        judges = [*self.discriminator.parameters(), *self.heads.parameters()]
        self.d_optimizer = torch.optim.Adam(judges, **ADAM)
        self.g_optimizer = torch.optim.Adam(self.generator.parameters(), **ADAM)
        self.device = reals.device

    def fakes(self) -> Tensor:
        """A batch of generated images."""
        return self.generator(torch.randn(self.n, self.latents, device=self.device))

    def play(self, discriminator_loss: Callable, generator_loss: Callable) -> None:
        """One iteration: ``n_dis`` discriminator updates, one of the generator."""
        for _ in range(self.n_dis):
            with torch.no_grad():
                fake = self.fakes()
            loss = discriminator_loss(next(self.batches), fake)
            self.d_optimizer.zero_grad()
            loss.backward()
            self.d_optimizer.step()
        self.discriminator.requires_grad_(False)
        loss = generator_loss(self.fakes())
        self.g_optimizer.zero_grad()
        loss.backward()
        self.g_optimizer.step()
        self.discriminator.requires_grad_(True)


def with_ordinary_layers(network: nn.Module) -> None:
    """Replace the framework's spectral norms by torch's, and the memory format by the plain one.

    Pools and upsampling take place after and before convolutions, not within them.
    """
    for layer in list(network.modules()):
        if isinstance(layer, AveragePool | LearnedHalving):
            layer.after = partial(convolve_then_halve, layer)
        if isinstance(layer, UpConvolution):
            layer.from_nearest = partial(upsample_then_convolve, layer)
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
            spectral_norm(layer, dim=int(isinstance(layer, nn.ConvTranspose2d)))
    network.to(memory_format=torch.contiguous_format)


def convolve_then_halve(halve: nn.Module, conv: nn.Conv2d, features: Tensor) -> Tensor:
    """Map (n, c, h, w) to (n, c', h / 2, w / 2)."""
    return halve(conv(features))


def upsample_then_convolve(layer: UpConvolution, features: Tensor) -> Tensor:
    """Map (n, c, h, w) to (n, c', 2 h, 2 w)."""
    return layer.conv(upsample(features, "nearest"))


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's hinge loss."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def sngan(game: GAN, reals: Tensor) -> Iteration:
    """SNGAN, Miyato et al. 2018."""
    bare = Bare(game, reals)

    def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
        real_logits, fake_logits = bare.discriminator(torch.cat([real, fake])).logits.chunk(2)
        return hinge(real_logits, fake_logits)

    def generator_loss(fake: Tensor) -> Tensor:
        return -bare.discriminator(fake).logits.mean()

    return lambda: bare.play(discriminator_loss, generator_loss)


def ssgan(game: GAN, reals: Tensor) -> Iteration:
    """SSGAN, Chen et al. 2019: a quarter of the batch at each angle."""
    bare = Bare(game, reals)
    head = bare.heads["rotation"].head

    def rotated(images: Tensor) -> tuple[Tensor, Tensor]:
        parts = images.chunk(4)
        turned = torch.cat([torch.rot90(part, k, (2, 3)) for k, part in enumerate(parts)])
        sizes = torch.tensor([len(part) for part in parts], device=images.device)
        return turned, torch.arange(len(parts), device=images.device).repeat_interleave(sizes)

    def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
        turned, angles = rotated(real)
        seen = bare.discriminator(torch.cat([real, fake, turned]))
        real_logits, fake_logits, _ = seen.logits.chunk(3)
        angle = F.cross_entropy(head(seen.pooled[-len(turned) :]), angles)
        return hinge(real_logits, fake_logits) + angle

    def generator_loss(fake: Tensor) -> Tensor:
        turned, angles = rotated(fake)
        seen = bare.discriminator(torch.cat([fake, turned]))
        angle = F.cross_entropy(head(seen.pooled[len(fake) :]), angles)
        return -seen.logits[: len(fake)].mean() + 0.2 * angle

    return lambda: bare.play(discriminator_loss, generator_loss)


def infomax_gan(game: GAN, reals: Tensor) -> Iteration:
    """InfoMax-GAN, Lee et al. 2021: InfoNCE over the logits of all anchors."""
    bare = Bare(game, reals)
    term = bare.heads["infomax"]

    def info_nce(pooled: Tensor, local: Tensor) -> Tensor:
        pooled, local = term.global_head(pooled), term.local_head(local).flatten(2)
        scores = torch.einsum("ir,jrp->ijp", pooled, local)  # (n, n, L)
        own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)[:, :, None]
        others = scores.masked_fill(own, -10).flatten(1)
        positives = scores.diagonal().T  # (n, L)
        negatives = others[:, None].expand(-1, positives.shape[1], -1)
        logits = torch.cat([positives[:, :, None], negatives], dim=2)
        return -F.log_softmax(logits, dim=2)[:, :, 0].mean()

    def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
        n = len(real)
        seen = bare.discriminator(torch.cat([real, fake]))
        nce = info_nce(seen.pooled[:n], seen.local[:n])
        return hinge(seen.logits[:n], seen.logits[n:]) + 0.2 * nce

    def generator_loss(fake: Tensor) -> Tensor:
        seen = bare.discriminator(fake)
        return -seen.logits.mean() + 0.2 * info_nce(seen.pooled, seen.local)

    return lambda: bare.play(discriminator_loss, generator_loss)


def dag_gan(game: GAN, reals: Tensor) -> Iteration:
    """DAG on SNGAN, Tran et al. 2021: the game once more at each of four angles."""
    bare = Bare(game, reals)
    heads = bare.heads["dag"].heads

    def turned(images: Tensor) -> Sequence[Tensor]:
        return [torch.rot90(images, k, (2, 3)) for k in range(4)]

    def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
        seen = bare.discriminator(torch.cat([*turned(real), *turned(fake)]))
        logits, pooled = seen.logits.chunk(8), seen.pooled.chunk(8)
        games = [hinge(heads[k](pooled[k]), heads[k](pooled[4 + k])) for k in range(4)]
        return hinge(logits[0], logits[4]) + 0.2 / 4 * sum(games)

    def generator_loss(fake: Tensor) -> Tensor:
        seen = bare.discriminator(torch.cat(turned(fake)))
        pooled = seen.pooled.chunk(4)
        games = [-heads[k](pooled[k]).mean() for k in range(4)]
        return -seen.logits.chunk(4)[0].mean() + 0.2 / 4 * sum(games)

    return lambda: bare.play(discriminator_loss, generator_loss)


def wgan_gp(game: GAN, reals: Tensor) -> Iteration:
    """WGAN-GP, Gulrajani et al. 2017."""
    bare = Bare(game, reals)

    def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
        real_logits, fake_logits = bare.discriminator(torch.cat([real, fake])).logits.chunk(2)
        alpha = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (alpha * real + (1 - alpha) * fake).requires_grad_()
        logits = bare.discriminator(between).logits
        (gradient,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
        penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
        return fake_logits.mean() - real_logits.mean() + 10 * penalty

    def generator_loss(fake: Tensor) -> Tensor:
        return -bare.discriminator(fake).logits.mean()

    return lambda: bare.play(discriminator_loss, generator_loss)


def dcgan(game: GAN, reals: Tensor) -> Iteration:
    """DCGAN, Radford et al. 2016: batch norm, and so a call each for reals and fakes."""
    bare = Bare(game, reals)

    def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
        on_real = F.softplus(-bare.discriminator(real).logits).mean()
        return on_real + F.softplus(bare.discriminator(fake).logits).mean()

    def generator_loss(fake: Tensor) -> Tensor:
        return F.softplus(-bare.discriminator(fake).logits).mean()

    return lambda: bare.play(discriminator_loss, generator_loss)
