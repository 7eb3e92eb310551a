"""Adversarial losses: closed forms, limits, and what distinguishes them."""

import math

import pytest
import torch

from saddlepoint.losses.adversarial import (
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    RelativisticPairing,
    Wasserstein,
)

pytestmark = pytest.mark.numerical

ALL = [
    Hinge(),
    Minimax(),
    Minimax(saturating=True),
    NonSaturating(),
    Wasserstein(),
    LeastSquares(),
    LeastSquares(fake=-1.0, real=1.0, target=0.0),
]


@pytest.mark.parametrize(
    ("loss", "logit", "discriminator", "generator"),
    [
        (Hinge(), 0.0, 2.0, 0.0),
        (Minimax(), 0.0, 2 * math.log(2), math.log(2)),
        (Minimax(saturating=True), 0.0, 2 * math.log(2), -math.log(2)),
        (NonSaturating(), 0.0, 2 * math.log(2), math.log(2)),
        (Wasserstein(), 0.0, 0.0, 0.0),
        (LeastSquares(), 0.5, 1 / 4, 1 / 8),
        (LeastSquares(fake=-1.0, real=1.0, target=0.0), 0.0, 1.0, 0.0),
    ],
)
def test_closed_form_for_an_undecided_discriminator(loss, logit, discriminator, generator):
    logits = torch.full((8, 1), logit)
    assert loss.discriminator(logits, logits).item() == pytest.approx(discriminator, abs=1e-6)
    assert loss.generator(logits).item() == pytest.approx(generator, abs=1e-6)


def test_values_by_hand():
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [-3.0]])
    assert Hinge().discriminator(real, fake).item() == pytest.approx((0 + 2) / 2 + (1.5 + 0) / 2)
    assert Hinge().generator(fake).item() == pytest.approx(1.25)
    assert Wasserstein().discriminator(real, fake).item() == pytest.approx(-0.5 - 1.25)
    assert Wasserstein().generator(fake).item() == pytest.approx(1.25)
    coded = LeastSquares(fake=-1.0, real=1.0, target=0.0)
    assert coded.discriminator(real, fake).item() == pytest.approx((1 + 4 + 1.5**2 + 4) / 4)
    assert coded.generator(fake).item() == pytest.approx((0.25 + 9) / 4)
    probability = torch.sigmoid(fake)
    expected = -torch.log(probability).mean().item()
    assert Minimax().generator(fake).item() == pytest.approx(expected)
    expected = torch.log(1 - probability).mean().item()
    assert Minimax(saturating=True).generator(fake).item() == pytest.approx(expected)


def test_hinge_gradient_is_exactly_zero_beyond_the_margins():
    real = torch.tensor([[1.0], [4.0]], requires_grad=True)
    fake = torch.tensor([[-1.0], [-9.0]], requires_grad=True)
    Hinge().discriminator(real, fake).backward()
    assert not real.grad.any() and not fake.grad.any()


def test_saturating_minimax_is_the_fakes_part_with_opposite_sign():
    fake = torch.randn(16, 1)
    loss = Minimax(saturating=True)
    assert torch.equal(loss.generator(fake), -loss.on_fake(fake))


def test_epsilon_bounds_the_non_saturating_loss():
    moderate, hopeless = torch.randn(16, 1), torch.full((4, 1), -1000.0, requires_grad=True)
    torch.testing.assert_close(NonSaturating().generator(moderate), Minimax().generator(moderate))
    bounded = NonSaturating().generator(hopeless)
    bounded.backward()
    assert bounded.item() == pytest.approx(-math.log(1e-8))
    assert not hopeless.grad.any()
    assert Minimax().generator(hopeless).item() == pytest.approx(1000.0)


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_the_players_want_opposite_things_of_fakes(loss):
    # Between the codes of fakes and of the generator's target, which are 1 apart.
    lowest = getattr(loss, "fake", -1.0)
    fake = (lowest + torch.linspace(0.1, 0.9, 8)[:, None]).requires_grad_()
    (pulled_down,) = torch.autograd.grad(loss.on_fake(fake), fake)
    (pushed_up,) = torch.autograd.grad(loss.generator(fake), fake)
    assert (pulled_down > 0).all() and (pushed_up < 0).all()


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize("magnitude", [1.0, 1e4])
def test_finite_and_float32_whatever_the_logits(loss, magnitude):
    logits = (torch.tensor([[-1.0], [1.0]]) * magnitude).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        total = loss.discriminator(logits, logits) + loss.generator(logits)
    total.backward()
    assert total.dtype == torch.float32 and total.ndim == 0
    assert total.isfinite() and logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_means_do_not_depend_on_batch_size_or_order(loss):
    real, fake = torch.randn(6, 1), torch.randn(6, 1)
    once = loss.discriminator(real, fake)
    twice = loss.discriminator(real.repeat(2, 1), fake.flip(0).repeat(2, 1))
    torch.testing.assert_close(once, twice)


@pytest.mark.parametrize("loss", [*ALL, RelativisticPairing()], ids=repr)
@pytest.mark.parametrize("shape", [(6, 1), (6, 1, 3, 5), (6, 2, 3, 5)])
def test_logits_of_any_shape_are_averaged_over_all_of_them(loss, shape):
    """One logit an image, a map of patches, the planes of classes: the mean over single logits."""
    real, fake = torch.randn(2, *shape)
    flat = real.reshape(-1, 1), fake.reshape(-1, 1)
    torch.testing.assert_close(loss.discriminator(real, fake), loss.discriminator(*flat))
    torch.testing.assert_close(loss.generator(fake, real), loss.generator(flat[1], flat[0]))
    assert loss.discriminator(real, fake).ndim == loss.generator(fake, real).ndim == 0
