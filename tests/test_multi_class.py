"""Multi-class self-supervision: which images get which class, closed forms, and the theory."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from multi_class_steps import N, a_step
from torch import nn

from saddlepoint.losses.multi_class import ANGLES, FAKE, MultiClassMatch, MultiClassMinimax
from saddlepoint.losses.rotation import Rotation, rotate, rotate_by_quarters, rotation_labels

pytestmark = pytest.mark.numerical


class Seen(nn.Module):
    """A discriminator stub: the images themselves, flattened, are its features."""

    def __init__(self, pooled_features):
        super().__init__()
        self.pooled_features = pooled_features

    def new_head(self, out_features):
        return nn.Linear(self.pooled_features, out_features)


class Pooled:
    def __init__(self, images):
        self.pooled = images.flatten(1)


def attached(term, pooled_features=12):
    term.attach(Seen(pooled_features))
    return term


def uniform(term):
    """Give a term a head whose logits are all equal."""
    nn.init.zeros_(term.head.weight)
    nn.init.zeros_(term.head.bias)
    return term


def look(term, step, player):
    """Fill in what the game would: features of every view the term wants."""
    views = getattr(term, f"{player}_views")(step)
    present = {"real": step.reals[0] if step.reals else {}, "fake": step.fake}
    step.views = {name: side for name, side in present.items() if side} | views
    step.seen = {name: Pooled(view.image) for name, view in step.views.items()}
    return views


def loss(term, step, player):
    look(term, step, player)
    return getattr(term, f"{player}_loss")(step)


def batch(n=N, size=2, offset=0):
    """Images (n, 3, size, size) that tell number, position and angle: all values differ."""
    return torch.arange(3 * n * size * size).float().view(n, 3, size, size) + 1 + offset


# Closed forms -----------------------------------------------------------------------------------


def test_head_widths():
    assert attached(MultiClassMinimax()).head.out_features == 5
    assert attached(MultiClassMatch()).head.out_features == 5
    assert attached(MultiClassMatch(fake_class=False)).head.out_features == 4


@pytest.mark.parametrize(
    ("term", "on_discriminator", "on_generator"),
    [
        (MultiClassMinimax(), 2 * math.log(5), 0.0),
        (MultiClassMinimax(rotate_fakes_in_d=False), 2 * math.log(5), 0.0),
        (MultiClassMatch(), math.log(5), 0.0),
        (MultiClassMatch(rotate_fakes_in_d=True), math.log(5), 0.0),
        (MultiClassMatch(generator_task="confuse"), math.log(5), math.log(5)),
        (MultiClassMatch(generator_task="confuse", fake_class=False), math.log(4), math.log(4)),
        (MultiClassMatch(fake_class=False), math.log(4), 0.0),
    ],
)
def test_uniform_logits(term, on_discriminator, on_generator):
    uniform(attached(term))
    step = a_step(torch.rand(N, 3, 2, 2), torch.rand(N, 3, 2, 2))
    assert loss(term, step, "discriminator").item() == pytest.approx(on_discriminator)
    assert loss(term, step, "generator").item() == pytest.approx(on_generator, abs=1e-6)


def test_minimax_losses_are_the_papers():
    term = attached(MultiClassMinimax())
    real, fake = torch.rand(N, 3, 2, 2), torch.rand(N, 3, 2, 2)
    k, last = rotation_labels(N, real.device), torch.full((N,), FAKE)
    on_real, on_fake = (term.head(rotate_by_quarters(x).flatten(1)) for x in (real, fake))
    ours = loss(term, a_step(real, fake), "discriminator")
    expected = F.cross_entropy(on_real, k) + F.cross_entropy(on_fake, last)
    torch.testing.assert_close(ours, expected)
    ours = loss(term, a_step(real, fake), "generator")
    expected = F.cross_entropy(on_fake, k) - F.cross_entropy(on_fake, last)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_minimax_generator_part_ignores_shifts_and_has_no_floor():
    term = attached(MultiClassMinimax())
    step = a_step(fake=torch.rand(N, 3, 2, 2))
    before = loss(term, step, "generator").item()
    with torch.no_grad():
        term.head.bias += 7.0
    assert loss(term, step, "generator").item() == pytest.approx(before, abs=1e-5)
    with torch.no_grad():
        term.head.bias[FAKE] -= 1000.0
    assert loss(term, step, "generator").item() == pytest.approx(before - 1000, abs=1e-2)


def test_upright_fakes_of_the_minimax_form_are_no_view_of_their_own():
    term = attached(MultiClassMinimax(rotate_fakes_in_d=False))
    step = a_step(batch(), batch(offset=1000))
    assert set(look(term, step, "discriminator")) == {"rotated real"}
    logits = term.head(step.seen["fake"].pooled / 1000)
    step.seen["fake"].pooled /= 1000
    on_real = term.head(step.seen["rotated real"].pooled)
    expected = F.cross_entropy(on_real, rotation_labels(N, logits.device))
    expected = expected + F.cross_entropy(logits, torch.full((N,), FAKE))
    torch.testing.assert_close(term.discriminator_loss(step), expected)


def test_a_perfect_classifier_leaves_the_generator_the_confuse_direction():
    """A large margin: L_D is 0, and matching pulls the fakes down just as confuse does."""
    # Reals carry their angle (a lit corner), fakes are dark.
    real = torch.zeros(N, 1, 2, 2)
    real[:, 0, 0, 0] = 1
    fake = torch.full((N, 1, 2, 2), -0.1)
    terms = {
        task: attached(MultiClassMatch(generator_task=task), 4) for task in ("match", "confuse")
    }
    margin = torch.zeros(5, 4)
    for k in range(ANGLES):
        margin[k, rotate(real[:1], k).flatten().argmax()] = 100.0
    gradients = {}
    for task, term in terms.items():
        with torch.no_grad():
            term.head.weight.copy_(margin)
            term.head.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, 50.0]))
        assert loss(term, a_step(real, fake), "discriminator").item() == pytest.approx(0, abs=1e-6)
        images = fake.clone().requires_grad_()
        loss(term, a_step(real, images, player="generator"), "generator").backward()
        gradients[task] = images.grad
    assert gradients["match"].abs().sum() > 0
    assert torch.equal(gradients["match"], gradients["confuse"])


# Which images, which classes --------------------------------------------------------------------


@pytest.mark.parametrize("rotated", [False, True])
def test_the_mixed_batch_is_drawn_without_replacement_from_five_n(rotated):
    term = attached(MultiClassMatch(rotate_fakes_in_d=rotated))
    real, fake = batch(), batch(offset=1000)
    fakes = rotate_by_quarters(fake) if rotated else fake
    counts = torch.zeros(5)
    for seed in range(200):
        step = a_step(real, fake, seed=seed)
        mixed = term.discriminator_views(step)["mixed"]
        images, classes = mixed.image, mixed.target
        assert images.shape == real.shape
        assert len({tuple(image.flatten().tolist()) for image in images}) == N
        for image, k in zip(images, classes.tolist(), strict=True):
            pool = fakes if k == FAKE else rotate(real, k)
            assert (pool == image).flatten(1).all(1).sum() == 1
        counts += classes.bincount(minlength=5)
    # 200 batches of 8: a class has 320 +- 16 of the 1600 images.
    assert (counts - 320).abs().max() < 5 * 16


def test_without_a_fake_class_the_mix_holds_reals_alone():
    term = attached(MultiClassMatch(fake_class=False))
    for seed in range(20):
        mixed = term.discriminator_views(a_step(batch(), batch(offset=1000), seed))["mixed"]
        assert mixed.image.max() < 1000
        assert mixed.target.max() < ANGLES


def test_draws_are_keyed():
    def drawn(seed):
        term = attached(MultiClassMatch())
        return term.discriminator_views(a_step(batch(), batch(), seed))["mixed"].image

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))


def test_reals_and_fakes_are_matched_at_the_same_images_and_angles():
    term = attached(MultiClassMatch())
    real, fake = batch(), batch(offset=1000)
    views = term.generator_views(a_step(real, fake))
    assert torch.equal(views["matching fake"].image, views["matched real"].image + 1000)
    target = views["matching fake"].target
    assert torch.equal(target, views["matched real"].target)
    assert len(target) == N
    assert target.max() < ANGLES  # never the class of fakes


def test_conditions_go_with_their_images():
    term = attached(MultiClassMatch())
    conditions = torch.arange(N), torch.arange(N) + 100
    step = a_step(batch(), batch(offset=1000), conditions=conditions)
    mixed = term.discriminator_views(step)["mixed"]
    for image, label in zip(mixed.image, mixed.condition.tolist(), strict=True):
        assert (label >= 100) == (image.min() > 1000)
        assert (image.min().item() - 1) % 1000 // 12 == label % 100
    for name, view in term.generator_views(step).items():
        assert (view.condition >= 100).all() == (name == "matching fake")


def test_rotations_are_exact():
    images = batch(size=5)
    for k in range(ANGLES):
        assert torch.equal(rotate(rotate(images, k), ANGLES - k), images)


# The matching loss ------------------------------------------------------------------------------


def test_match_is_zero_for_equal_batches_symmetric_and_never_negative():
    term = attached(MultiClassMatch())
    real, fake = torch.rand(N, 3, 2, 2), 3 * torch.rand(N, 3, 2, 2)
    assert loss(term, a_step(real, real.clone()), "generator").item() == 0
    there = loss(term, a_step(real, fake), "generator")
    assert there > 0
    assert torch.equal(there, loss(term, a_step(fake, real), "generator"))


def test_gradient_of_match_is_that_of_confuse_up_to_the_sign_and_zero_at_equality():
    match = attached(MultiClassMatch()).double()
    confuse = copy.deepcopy(match)
    confuse.generator_task = "confuse"
    signs = set()
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        real, fake = torch.randn(2, N, 3, 2, 2, generator=generator, dtype=torch.double)

        def of(term, images, real=real):
            return loss(term, a_step(real, images, player="generator"), "generator")

        images = fake.clone().requires_grad_()
        of(match, images).backward()
        plain = fake.clone().requires_grad_()
        of(confuse, plain).backward()
        sign = 1 if of(confuse, fake) > of(confuse, real) else -1
        signs.add(sign)
        torch.testing.assert_close(images.grad, sign * plain.grad)
        # Finite differences along one direction.
        direction, h = torch.randn(fake.shape, generator=generator, dtype=torch.double), 1e-6
        slope = (of(match, fake + h * direction) - of(match, fake - h * direction)) / (2 * h)
        expected = (images.grad * direction).sum()
        torch.testing.assert_close(slope.detach(), expected, rtol=1e-5, atol=1e-7)
    assert signs == {1, -1}
    images = torch.rand(N, 3, 2, 2, dtype=torch.double).requires_grad_()
    loss(match, a_step(images.detach().clone(), images), "generator").backward()
    assert images.grad.abs().max() == 0


def test_reals_are_a_constant_of_the_generators_loss():
    term = attached(MultiClassMatch())
    real, fake = (torch.rand(N, 3, 2, 2, requires_grad=True) for _ in range(2))
    loss(term, a_step(real, fake), "generator").backward()
    assert real.grad is None
    assert fake.grad is not None


# The theory -------------------------------------------------------------------------------------

# Eight states on which a quarter turn is a permutation of order 4: the 2 x 2 images with one lit
# corner, and those with one lit side.
CORNER, SIDE = torch.tensor([[1.0, 0], [0, 0]]), torch.tensor([[1.0, 1], [0, 0]])
STATES = torch.stack([torch.rot90(image, k) for image in (CORNER, SIDE) for k in range(4)])
DATA = torch.tensor([4, 0, 0, 0, 3, 3, 3, 3]) / 16  # corners have an angle, sides have none
UNITS = 16


def states_of(images):
    """Indicator (n, 8) of each image's state."""
    return (images.flatten(1)[:, None] == STATES.flatten(1)).all(2).double()


def images_of(p):
    """A batch of 64 images: four times the distribution p over states, once for each angle."""
    return STATES.repeat_interleave((p * UNITS).long(), dim=0).repeat(4, 1, 1)[:, None]


def turned(p):
    """(4, 8): the distributions of T_k x for x from p."""
    angles = [states_of(rotate(STATES[:, None], k)).argmax(1) for k in range(4)]
    return torch.stack([torch.zeros(8).index_add(0, to, p) for to in angles])


def classifier(p_g, fake_class=True):
    """Term whose head is the best classifier of the toy, as logits on the indicator of states."""
    term = attached(MultiClassMinimax() if fake_class else Rotation(), 8).double()
    best = turned(DATA) / 4
    if fake_class:
        best = torch.cat([best, turned(p_g).mean(0, keepdim=True)])
    with torch.no_grad():
        term.head.weight.copy_(best.clamp_min(1e-30).log())
        term.head.bias.zero_()
    return term


def toy_loss(term, p_g, player):
    step = a_step(images_of(DATA), images_of(p_g))
    step.views = getattr(term, f"{player}_views")(step)
    step.seen = {
        name: type("Features", (), {"pooled": states_of(view.image)})
        for name, view in step.views.items()
    }
    return getattr(term, f"{player}_loss")(step)


COLLAPSED = torch.tensor([16, 0, 0, 0, 0, 0, 0, 0]) / 16
OTHERS = [DATA, COLLAPSED, torch.tensor([8, 0, 0, 0, 2, 6, 0, 0]) / 16]


@pytest.mark.parametrize("p_g", OTHERS, ids=["data", "collapsed", "other"])
def test_minimax_is_the_divergence_minus_the_information_about_the_angle(p_g):
    def kl(p, q):
        return torch.where(p > 0, p * (p / q).log(), 0.0).nansum().item()

    information = sum(kl(p, turned(p_g).mean(0)) for p in turned(p_g)) / 4
    expected = kl(p_g, DATA) - information + math.log(4)
    ours = toy_loss(classifier(p_g), p_g, "generator").item()
    assert ours == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_classifier_of_the_toy_is_the_best_one():
    for p_g in OTHERS:
        term = classifier(p_g)
        toy_loss(term, p_g, "discriminator").backward()
        assert term.head.weight.grad.abs().max() < 1e-6


def test_collapse_pays_under_rotation_but_not_under_the_minimax_game():
    rotation = [toy_loss(classifier(p, False), p, "generator").item() for p in (COLLAPSED, DATA)]
    minimax = [toy_loss(classifier(p), p, "generator").item() for p in (COLLAPSED, DATA)]
    assert rotation[0] == pytest.approx(0, abs=1e-6)
    assert rotation[0] < rotation[1]
    assert minimax[0] > minimax[1] + 0.1
