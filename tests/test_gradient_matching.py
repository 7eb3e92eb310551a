"""Gradient matching: closed forms, the second-order path, and every discriminator there is."""

import contextlib
from functools import partial

import pytest
import torch
from play import changed, networks_of, play, snapshot
from torch import nn
from train_cli import composed, networks_fed_with_latents

from saddlepoint.errors import UserError
from saddlepoint.gans import GAN
from saddlepoint.gans.networks.mlp import MLPGenerator
from saddlepoint.gans.networks.patch import PatchDiscriminator
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import ScoreMatching
from saddlepoint.losses.gradient_matching import GradientMatching
from saddlepoint.losses.term import Step
from saddlepoint.randomness import Draws

pytestmark = pytest.mark.numerical

N, D = 6, 5
BOTH = pytest.mark.parametrize("score", ["logit", "sigmoid"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def a_step(critic, real, fake):
    step = Step(0, 1, Draws(0), Items(), [Items(image=real)])
    step.fake = Items(image=fake)
    step.logit = lambda images, condition=None: critic(images)
    return step


def smooth(width=7):
    layers = nn.Sequential(nn.Linear(D, width), nn.Tanh(), nn.Linear(width, 1)).double()
    for number, weights in enumerate(layers.parameters()):
        weights.data = normal(*weights.shape, seed=number).double()
    return layers


@BOTH
def test_equal_batches_match(score):
    real = normal(N, D).double()
    fake = real.clone().flip(0).requires_grad_()
    loss = GradientMatching(score=score).generator_loss(a_step(smooth(), real, fake))
    assert loss.item() == pytest.approx(0, abs=1e-12)


def test_a_linear_logit_has_one_slope_everywhere():
    w, real, fake = normal(D), normal(N, D, seed=1), normal(N, D, seed=2).requires_grad_()
    step = a_step(lambda x: (x @ w)[:, None] + 0.5, real, fake)
    term = GradientMatching(score="logit")
    assert GradientMatching(product_weight=0.0, score="logit").generator_loss(step).item() == 0
    expected = (w @ (real.mean(0) - fake.mean(0))).square()
    torch.testing.assert_close(term.generator_loss(step), expected)


@BOTH
def test_a_constant_discriminator_asks_for_nothing(score):
    fake = normal(N, D).requires_grad_()
    step = a_step(lambda x: x.flatten(1).sum(1, keepdim=True) * 0, normal(N, D, seed=1), fake)
    loss = GradientMatching(score=score).generator_loss(step)
    assert loss.item() == 0
    (gradient,) = torch.autograd.grad(loss, fake)
    assert torch.equal(gradient, torch.zeros_like(fake))


@pytest.mark.parametrize("norm", ["sum", "mean"])
def test_values_by_hand(norm):
    """D(x) = |x|^2 / 2 has the gradient x."""
    real, fake = normal(N, 2, 3), normal(N, 2, 3, seed=1).requires_grad_()
    step = a_step(lambda x: x.flatten(1).square().sum(1, keepdim=True) / 2, real, fake)
    term = GradientMatching(gradient_weight=0.5, product_weight=0.25, score="logit", norm=norm)
    slope = (real.mean(0) - fake.mean(0)).square()
    slope = slope.sum() if norm == "sum" else slope.mean()
    product = real.square().sum() / N - fake.square().sum() / N
    torch.testing.assert_close(term.generator_loss(step), 0.5 * slope + 0.25 * product**2)


@BOTH
def test_gradient_through_the_generator_against_finite_differences(score):
    critic, real = smooth(), normal(N, D).double()
    latents, weight = normal(N, 3, seed=1).double(), normal(3, D, seed=2).double()

    def loss(weight):
        fake = torch.tanh(latents @ weight)
        return GradientMatching(score=score).generator_loss(a_step(critic, real, fake))

    weight.requires_grad_()
    (found,) = torch.autograd.grad(loss(weight), weight)
    assert found.abs().max() > 1e-3
    for i, j in ((0, 0), (2, 3)):
        step = torch.zeros_like(weight)
        step[i, j] = 1e-5
        slope = (loss(weight + step) - loss(weight - step)).item() / 2e-5
        assert found[i, j].item() == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_a_piecewise_linear_logit_gives_the_slopes_no_gradient_but_its_sigmoid_does():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(D, 16), nn.ReLU(), nn.Linear(16, 1))
    real, fake = normal(N, D), normal(N, D, seed=1).requires_grad_()
    step = a_step(critic, real, fake)
    for score, bent in (("logit", False), ("sigmoid", True)):
        loss = GradientMatching(product_weight=0.0, score=score).generator_loss(step)
        (gradient,) = torch.autograd.grad(loss, fake, materialize_grads=True)
        assert (gradient.abs().max() > 1e-6) == bent
    loss = GradientMatching(gradient_weight=0.0, score="logit").generator_loss(step)
    assert torch.autograd.grad(loss, fake)[0].abs().max() > 1e-6


def test_the_order_of_fakes_does_not_matter():
    critic, real, fake = smooth(), normal(N, D).double(), normal(N, D, seed=1).double()
    term = GradientMatching()
    losses = [
        term.generator_loss(a_step(critic, real, images.requires_grad_()))
        for images in (fake.clone(), fake.flip(0))
    ]
    torch.testing.assert_close(*losses)


def test_gradients_at_reals_are_a_constant():
    step = a_step(smooth(), normal(N, D).double(), normal(N, D, seed=1).double().requires_grad_())
    term = GradientMatching()
    assert not term.gradients(step, step.real, differentiable=False).requires_grad
    assert term.gradients(step, step.fake, differentiable=True).requires_grad


# In a game --------------------------------------------------------------------------------------

NETWORKS = networks_fed_with_latents()


class Watched(GAN):
    """Tells, of the generator's update, what the term and the whole of it give gradients to."""

    def descend(self, player, losses):
        for parameter in self.parameters():
            parameter.grad = None
        if player.name == "generator":
            self.term_reaches = {
                name
                for name in ("generator", "discriminator")
                if reached(losses["gradient_matching"], getattr(self, name))
            }
        super().descend(player, losses)
        if player.name == "generator":
            self.judge_was_left_alone = all(p.grad is None for p in self.discriminator.parameters())


def reached(loss, network):
    wanted = [p for p in network.parameters() if p.requires_grad]
    if not wanted:
        return False
    found = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
    assert all(g.isfinite().all() for g in found if g is not None)
    return any(g is not None and g.abs().sum() > 0 for g in found)


def networks_on(name):
    """The networks of one choice of network= but the encoder, small; or a judge of patches."""
    torch.manual_seed(0)
    if name == "patch":
        settings = dict(composed(["network=lite"]).network)
        networks = networks_of(settings, (3, 16, 16), width=8)
        return networks | {"discriminator": PatchDiscriminator(shape=(3, 16, 16), width=8)}
    settings = dict(composed([f"network={name}"]).network)
    settings.pop("encoder", None)
    shapes = [(2,)] if "mlp" in name else [(3, side, side) for side in (16, 28, 32, 48)]
    for shape in shapes:
        with contextlib.suppress(UserError):
            networks = networks_of(settings, shape, width=8)
            break
    if "shape" in settings["discriminator"]:  # it judges codes
        codes = (networks["generator"].latent_dim,)
        networks["generator"] = MLPGenerator(shape=codes, latent_dim=4, width=8)
    return networks


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("name", [*NETWORKS, "patch"])
def test_every_discriminator_can_be_differentiated_twice(name, precision):
    game = Watched(
        **networks_on(name),
        adversarial=ScoreMatching(),
        terms={"gradient_matching": GradientMatching(score="logit")},  # no sigmoid that saturates
        n_dis=1,
        iterations=1,
        batch_size=4,
        precision=precision,
        log_every=1,
        discriminator_optimizer=partial(torch.optim.SGD, lr=0.0),
        generator_optimizer=partial(torch.optim.SGD, lr=1e-2),
    )
    before = snapshot(game.discriminator)
    play(game)
    assert game.term_reaches == {"generator"}
    assert game.judge_was_left_alone
    assert not changed(before, game.discriminator)
