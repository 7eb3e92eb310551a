"""Gradient normalisation: closed forms, both its derivatives, and the game it makes."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from play import Made, play, spec_of
from torch import Tensor, nn
from train_cli import composed

from saddlepoint.errors import UserError
from saddlepoint.gans import GradNormGAN
from saddlepoint.gans.gradient_normalised_critic import (
    GradientNormalisedCritic,
    normalise_by_gradient,
)
from saddlepoint.gans.networks.conditions import Classes, Vectors
from saddlepoint.gans.networks.dcgan import DCGANDiscriminator
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.gans.networks.mlp import MLPDiscriminator, MLPGenerator
from saddlepoint.gans.networks.patch import PatchDiscriminator
from saddlepoint.gans.networks.resnet import ResNetDiscriminator
from saddlepoint.gans.networks.sncnn import SNCNNDiscriminator
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import Hinge, RelativisticPairing
from saddlepoint.losses.dag import DAG
from saddlepoint.losses.gradient_penalty import R1, input_gradient
from saddlepoint.losses.infomax import InfoMax
from saddlepoint.losses.rotation import Rotation
from saddlepoint.losses.term import Step
from saddlepoint.randomness import Draws
from saddlepoint.runs.build import build_game

pytestmark = pytest.mark.numerical

SHAPE = (3, 16, 16)
SMALL = {"iterations": 2, "batch_size": 8, "n_dis": 2, "precision": "32", "log_every": 1}
PLAIN = {"width": 16, "spectral_norm": False}
ATTENTIVE = partial(ResNetDiscriminator, attention=2, downsampling="learned", wide=True)
NETWORKS = {
    "lite": (LiteDiscriminator, SHAPE),
    "mlp": (MLPDiscriminator, (2,)),
    "patch": (PatchDiscriminator, (3, 24, 16)),
    "dcgan": (partial(DCGANDiscriminator, batch_norm=False), SHAPE),
    "sncnn": (SNCNNDiscriminator, (3, 32, 32)),
    "resnet": (ResNetDiscriminator, (3, 32, 32)),
    "attention": (ATTENTIVE, (3, 32, 32)),
}


def critic_of(network, **options):
    return GradientNormalisedCritic(network.eval(), None, **options)


def gradient(score, images):
    """Input gradients (n, *shape), without a graph."""
    return input_gradient(score, images).detach()


# The normalisation --------------------------------------------------------------------------------


def test_linear_discriminator():
    w, b = torch.randn(6), 0.3
    images = torch.randn(9, 6, requires_grad=True)
    logits = (images @ w + b)[:, None]
    expected = logits / (logits.abs() + w.norm())
    torch.testing.assert_close(normalise_by_gradient(logits, images), expected)


@pytest.mark.parametrize("c", [1e-3, 7.0, 1e4])
def test_a_multiple_of_the_discriminator_is_the_same_critic(c):
    network = LiteDiscriminator(shape=SHAPE, **PLAIN)
    images = torch.randn(5, *SHAPE)
    before = critic_of(network).logit(images)
    with torch.no_grad():
        network.head.weight.mul_(c), network.head.bias.mul_(c)
    torch.testing.assert_close(critic_of(network).logit(images), before, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        network.head.weight.neg_(), network.head.bias.neg_()
    torch.testing.assert_close(critic_of(network).logit(images), -before, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "attention"])
def test_a_piecewise_linear_discriminator_becomes_1_lipschitz(name):
    """The norm of the gradient of D^ is (g / (g + |D|))^2, with g that of D's."""
    make, shape = NETWORKS[name]
    network = make(shape=shape, **PLAIN)
    critic, images = critic_of(network), torch.randn(6, *shape)

    def score(x):
        return network(x).logits.flatten(1).mean(1, keepdim=True)

    g = gradient(score, images).flatten(1).norm(dim=1)
    logits = score(images).detach()[:, 0]
    norms = gradient(critic.logit, images).flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, (g / (g + logits.abs())) ** 2, rtol=1e-3, atol=1e-5)
    assert (norms <= 1 + 1e-5).all()
    normalised = critic.logit(images).detach()[:, 0]
    assert (normalised.abs() < 1).all()
    torch.testing.assert_close(normalised, logits / (logits.abs() + g), rtol=1e-4, atol=1e-6)


def test_both_derivatives_equal_finite_differences():
    """Of a smooth discriminator, whose second derivatives count, in float64."""
    generator = torch.Generator().manual_seed(0)
    images, w, v = (
        torch.randn(*size, dtype=torch.float64, generator=generator, requires_grad=True)
        for size in ((4, 3), (5, 3), (1, 5))
    )

    def normalised(images, w, v):
        return normalise_by_gradient(torch.tanh(images @ w.T) @ v.T, images)

    assert torch.autograd.gradcheck(normalised, (images, w, v))


def test_a_critic_that_is_zero_everywhere_stays_zero():
    network = MLPDiscriminator(shape=(2,), width=8)
    nn.init.zeros_(network.head.weight), nn.init.zeros_(network.head.bias)
    logits = critic_of(network).logit(torch.randn(4, 2))
    assert not logits.any()
    logits.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


# The critic ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [None, Classes(3), Vectors(3, 1)], ids=lambda c: str(c)[:7])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_looks_as_image_by_image(name, condition):
    make, shape = NETWORKS[name]
    network = make(shape=shape, condition=condition, **PLAIN)
    asked = {}
    if condition is not None:
        asked["condition"] = torch.tensor([0, 2, 1, 1])
        if isinstance(condition, Vectors):
            asked["condition"] = torch.randn(4, 3)
    items = Items(image=torch.randn(4, *shape), **asked)
    views = {"real": items.part(slice(0, 3)), "fake": items.part(slice(3, 4))}
    alone = []
    for item in items.batches(1):
        image = item.image.clone().requires_grad_()
        logit = network.eval()(image, item.get("condition")).logits.mean()
        (gradients,) = torch.autograd.grad(logit, image)
        alone.append(logit / (logit.abs() + gradients.norm()))
    expected = torch.stack(alone)[:, None]
    for joint_views in (True, False):
        critic = critic_of(network, joint_views=joint_views)
        seen = critic.look(views)
        logits = torch.cat([seen["real"].logits, seen["fake"].logits])
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-5)
        local, pooled = network.features(views["real"].image)
        torch.testing.assert_close(seen["real"].local, local, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(seen["real"].pooled, pooled, rtol=1e-4, atol=1e-5)
        again = critic.logit(items.image, items.get("condition"))
        torch.testing.assert_close(again, expected, rtol=1e-3, atol=1e-5)


def test_batch_norm_is_refused_in_one_sentence():
    with pytest.raises(UserError, match=r"without batch norm.*batch_norm=false") as refused:
        critic_of(DCGANDiscriminator(shape=SHAPE, width=8))
    assert str(refused.value).count(". ") == 0
    config = composed(["gan=gradnorm_gan", "network=dcgan"])
    with pytest.raises(UserError, match="without batch norm"):
        build_game(config, spec_of((3, 32, 32)))
    config = composed([*config_of("dcgan"), "network.discriminator.batch_norm=false"])
    assert build_game(config, spec_of((3, 32, 32))).critic.joint_views


# The game -----------------------------------------------------------------------------------------


def config_of(network):
    return ["gan=gradnorm_gan", f"network={network}", "gan.precision=32", "trainer=cpu"]


def game(condition=None, terms=None, **settings):
    torch.manual_seed(0)
    generator = LiteGenerator(shape=SHAPE, latent_dim=8, width=8, condition=condition)
    discriminator = LiteDiscriminator(shape=SHAPE, condition=condition, **PLAIN)
    options = {"condition": condition, "terms": terms or {}}
    return GradNormGAN(generator, discriminator, **options, **{**SMALL, **settings})


class Quadratic(Discriminator):
    """D(x) = <a, x^2> + b, whose input gradient is 2 a x."""

    def __init__(self):
        super().__init__(condition=None, local_channels=2, pooled_features=2, spectral_norm=False)

    def features(self, images):
        return images[:, :, None, None], images.square()


def test_both_updates_go_through_the_gradient():
    """Losses and their gradients equal those of D^ written out, for both players."""
    torch.manual_seed(0)
    made = GradNormGAN(MLPGenerator(shape=(2,), width=8), Quadratic(), **SMALL)
    step = Step(0, 1, Draws(0), Items(latents=torch.randn(8, 2)), [Items(image=torch.randn(8, 2))])
    real, fake = step.real.image, made.generator(step.inputs.latents)
    head = made.discriminator.head

    def written_out(x, part=lambda norm: norm):
        logits, norm = head(x.square()), (2 * head.weight * x).norm(dim=1, keepdim=True)
        return logits / (logits.abs() + part(norm))

    def slopes(loss, network):
        found = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
        return torch.cat([gradient.flatten() for gradient in found])

    for network, loss, expected in (
        (
            made.discriminator,
            made.discriminator_loss(step),
            2 - written_out(real).mean() + written_out(fake.detach()).mean(),
        ),
        (made.generator, made.generator_loss(step), -written_out(fake).mean()),
    ):
        loss = loss["adversarial"]
        torch.testing.assert_close(loss, expected)
        ours, theirs = slopes(loss, network), slopes(expected, network)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    # Without the path through the gradient the generator would be led elsewhere.
    shorter = slopes(-written_out(fake, Tensor.detach).mean(), made.generator)
    assert (shorter - theirs).norm() > 0.1 * theirs.norm()


def test_hinge_never_saturates():
    made = game()
    with torch.no_grad():
        made.discriminator.head.weight.mul_(100)  # far beyond the margins, of D itself
    real = Items(image=torch.randn(8, *SHAPE))
    step = Step(0, 1, Draws(0), Items(latents=torch.randn(8, 8)), [real])
    loss = made.discriminator_loss(step)["adversarial"]
    a, b = step.seen["real"].logits, step.seen["fake"].logits
    torch.testing.assert_close(loss, 2 - a.mean() + b.mean())
    assert made.discriminator(real.image).logits.abs().max() > 1 > a.abs().max()


@pytest.mark.parametrize("condition", [None, Classes(3)], ids=["plain", "classes"])
@pytest.mark.parametrize("joint_views", [True, False])
def test_it_plays_with_terms_and_counts_kimg(condition, joint_views):
    terms = {"rotation": Rotation(), "infomax": InfoMax(projection=16), "dag": DAG(), "r1": R1(1.0)}
    played = play(game(condition=condition, terms=terms, joint_views=joint_views))
    assert {name.split("/")[1] for name in played.last_losses} == {"adversarial", *terms}
    assert all(math.isfinite(value) for value in played.last_losses.values())
    assert played.images_shown == 2 * 2 * 8


def test_other_losses_see_the_normalised_logits():
    played = play(game(adversarial=RelativisticPairing()))
    # The softplus of a difference in (-2, 2).
    low, high = (F.softplus(torch.tensor(x)).item() for x in (-2.0, 2.0))
    assert all(low < loss < high for loss in played.last_losses.values())


def test_gradients_stay_in_float32_under_bfloat16():
    exact, fast = game(precision="32"), game(precision="bf16")
    images = Items(image=torch.randn(4, *SHAPE))
    a, b = exact.critic.look({"x": images})["x"], fast.critic.look({"x": images})["x"]
    for one, other in zip(a, b, strict=True):
        assert one.dtype == torch.float32 and torch.equal(one, other)
    played = play(fast)
    assert all(math.isfinite(value) for value in played.last_losses.values())


def test_settings_are_the_published_ones():
    config = composed(["gan=gradnorm_gan"])
    assert (config.iterations, config.batch_size, config.gan.n_dis) == (200_000, 64, 5)
    assert config.gan.lr_schedule == "linear"
    for player, lr in (("discriminator", 4e-4), ("generator", 2e-4)):
        optimizer = config.gan[f"{player}_optimizer"]
        assert (optimizer.lr, list(optimizer.betas)) == (lr, [0.0, 0.9])
    made = build_game(config, spec_of((3, 32, 32)))
    assert isinstance(made.adversarial, Hinge)
    assert not any(nn.utils.parametrize.is_parametrized(m) for m in made.discriminator.modules())


MODES = torch.tensor([[math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)] for k in range(8)])


def ring(game, iteration):
    """Points around 8 modes on a circle, new ones in every iteration."""
    generator = torch.Generator().manual_seed(iteration)
    n = game.batches_per_iteration * game.batch_size
    of = torch.randint(8, (n,), generator=generator)
    return Items(image=MODES[of] + 0.02 * torch.randn(n, 2, generator=generator))


def test_it_learns_eight_gaussians():
    torch.manual_seed(0)
    adam = partial(torch.optim.Adam, lr=2e-3, betas=(0.0, 0.9))
    made = GradNormGAN(
        MLPGenerator(shape=(2,), width=64, latent_dim=8),
        MLPDiscriminator(shape=(2,), width=64),
        iterations=300,
        batch_size=128,
        n_dis=3,
        precision="32",
        discriminator_optimizer=adam,
        generator_optimizer=adam,
    )

    def share_near_modes():
        points = made.sample(made.inputs_at(range(1000)))
        distances, nearest = torch.cdist(points, MODES).min(1)
        near = distances < 0.2
        return near.float().mean().item(), nearest[near].bincount(minlength=8)

    before, _ = share_near_modes()
    play(made, blocks=Made(made, partial(ring, made)))
    after, of_each_mode = share_near_modes()
    # Between the modes lie the points of a continuous generator: not all can be near one.
    assert before < 0.05 and after > 0.3
    assert (of_each_mode > 10).all()
