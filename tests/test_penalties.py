"""Gradient penalties: closed forms for linear critics, and the second derivative they train by."""

import pytest
import torch
from torch import nn

from saddlepoint.errors import UserError
from saddlepoint.gans.networks.dcgan import DCGANDiscriminator
from saddlepoint.gans.networks.resnet import ResNetDiscriminator
from saddlepoint.items import Items
from saddlepoint.losses.gradient_penalty import (
    R1,
    R2,
    WassersteinGradientPenalty,
    ZeroCentredGradientPenalty,
    input_gradient,
    interpolates,
    one_centred,
    zero_centred,
)
from saddlepoint.losses.term import Step
from saddlepoint.randomness import Draws

pytestmark = pytest.mark.numerical

SHAPE = (3, 4, 4)
PENALTIES = [
    WassersteinGradientPenalty(),
    WassersteinGradientPenalty(norm="rms"),
    ZeroCentredGradientPenalty(),
    R1(),
    R2(),
]


def ids(penalty):
    return f"{type(penalty).__name__}-{getattr(penalty, 'norm', '')}"


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(0)
    real, fake, w = (torch.randn(n, *SHAPE, generator=generator) for n in (6, 6, 1))
    return real, fake, w


def test_linear_critic(samples):
    real, fake, w = samples
    norm = w.norm()
    expected = {
        "WassersteinGradientPenalty-l2": (norm - 1) ** 2,
        "WassersteinGradientPenalty-rms": (norm / w.numel() ** 0.5 - 1) ** 2,
        "ZeroCentredGradientPenalty-": norm**2,
        "R1-": norm**2 / 2,
        "R2-": norm**2 / 2,
    }
    for penalty in PENALTIES:
        value = penalty.penalty(lambda x: (w * x).sum((1, 2, 3))[:, None], real, fake, Draws(0))
        torch.testing.assert_close(value, expected[ids(penalty)])


@pytest.mark.parametrize("penalty", PENALTIES, ids=ids)
@pytest.mark.parametrize("kind", ["zero weight", "unused input", "no graph"])
def test_constant_critic(samples, penalty, kind):
    real, fake, _ = samples
    bias = nn.Parameter(torch.ones(1))
    scores = {
        "zero weight": lambda x: bias + (0 * x).sum((1, 2, 3))[:, None],
        "unused input": lambda x: bias.expand(len(x), 1),
        "no graph": lambda x: torch.ones(len(x), 1),
    }
    value = penalty.penalty(scores[kind], real, fake, Draws(0))
    assert value.item() == (1.0 if isinstance(penalty, WassersteinGradientPenalty) else 0.0)


@pytest.mark.parametrize("penalty", PENALTIES, ids=ids)
def test_second_derivative_is_finite_where_the_gradient_is_exactly_zero(samples, penalty):
    real, fake, _ = samples
    critic = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Softplus(), nn.Linear(8, 1))
    nn.init.zeros_(critic[-1].weight)
    penalty.penalty(critic, real, fake, Draws(0)).backward()
    for parameter in critic.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


@pytest.mark.parametrize("penalty", PENALTIES, ids=ids)
def test_parameter_gradient_against_finite_differences(samples, penalty):
    real, fake, _ = samples
    torch.manual_seed(1)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 1))
    weight, step = critic[1].weight, 1e-2
    direction = torch.randn_like(weight)
    penalty.penalty(critic, real, fake, Draws(0)).backward()
    analytic = (weight.grad * direction).sum()
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * step * direction
        values.append(penalty.penalty(critic, real, fake, Draws(0)).detach())
        with torch.no_grad():
            weight -= sign * step * direction
    numeric = (values[0] - values[1]) / (2 * step)
    torch.testing.assert_close(analytic, numeric, rtol=2e-2, atol=1e-3)


def test_interpolates_lie_between_with_one_alpha_per_pair():
    real, fake = torch.ones(2000, 2, 3), torch.zeros(2000, 2, 3)
    mixed = interpolates(real, fake, Draws("alpha"))
    alpha = mixed[:, 0, 0]
    assert torch.equal(mixed, alpha[:, None, None].expand_as(mixed))
    assert alpha.mean().item() == pytest.approx(0.5, abs=0.02)
    assert alpha.std().item() == pytest.approx(12**-0.5, abs=0.01)
    assert torch.equal(mixed, interpolates(real, fake, Draws("alpha")))


def test_gradient_of_every_sample_is_its_own(samples):
    real, _, w = samples
    score = lambda x: ((w * x).sum((1, 2, 3)) ** 2)[:, None]  # noqa: E731
    together = input_gradient(score, real)
    apart = torch.cat([input_gradient(score, x) for x in real.split(1)])
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(together, 2 * (w * real).sum((1, 2, 3), keepdim=True) * w)


def test_norms_of_points_and_images_agree():
    points = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert one_centred(points).item() == pytest.approx((16 + 1) / 2)
    assert zero_centred(points).item() == pytest.approx(12.5)
    torch.testing.assert_close(one_centred(points[:, :, None, None]), one_centred(points))


def test_r1_sees_reals_alone_and_r2_fakes_alone(samples):
    real, fake, _ = samples
    score = lambda x: (x**2).sum((1, 2, 3))[:, None]  # noqa: E731
    ones, twos = torch.ones_like(real), 2 * torch.ones_like(real)
    assert R1().penalty(score, ones, fake, Draws(0)) == 0.5 * 4 * 48
    assert R2().penalty(score, real, twos, Draws(0)) == 0.5 * 16 * 48


@pytest.mark.parametrize(("penalty", "wanted"), [(R1(), 1), (R2(), 2)])
def test_the_step_gives_conditions_of_the_samples_looked_at(samples, penalty, wanted):
    real, fake, _ = samples
    seen = []

    def logit(images, condition):
        seen.append(condition)
        return images.sum((1, 2, 3))[:, None]

    real = Items(image=real, condition=torch.full((6,), 1))
    fake = Items(image=fake, condition=torch.full((6,), 2))
    step = Step(0, 1, Draws(0), Items(), [real], fake)
    step.logit = logit
    assert penalty.discriminator_loss(step).item() == pytest.approx(48 / 2)
    assert seen[0].eq(wanted).all()


@pytest.mark.parametrize("penalty", PENALTIES, ids=ids)
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_trains_every_weight_of_a_resnet(penalty, spectral_norm):
    critic = ResNetDiscriminator(shape=(3, 32, 32), width=8, spectral_norm=spectral_norm)
    real, fake = torch.randn(2, 2, 3, 32, 32)
    penalty.attach(critic)
    penalty.penalty(lambda x: critic(x).logits, real, fake, Draws(0)).backward()
    for name, parameter in critic.named_parameters():
        if not name.endswith("bias"):  # piecewise linear: biases do not move the gradient
            assert parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_batch_norm_and_unknown_norms_are_refused():
    with pytest.raises(UserError, match="batch_norm=false"):
        R1().attach(DCGANDiscriminator(shape=(3, 16, 16), width=8))
    R1().attach(DCGANDiscriminator(shape=(3, 16, 16), width=8, batch_norm=False))
    with pytest.raises(UserError, match="norm=l1 is not to be had: give l2 or rms "):
        WassersteinGradientPenalty(norm="l1")
