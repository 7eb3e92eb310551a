"""Multi-class self-supervision: which images get which class, closed forms, and the theory."""

import copy
import math
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from play import changed, play, snapshot
from torch import nn

from errors import UserError
from gans import CGANPD, MSGAN, SNGAN, WGANGP, SSAdvGAN
from gans.networks.lite import LiteDiscriminator, LiteGenerator
from losses.adversarial import Hinge
from losses.multi_class import ANGLES, FAKE, MultiClassMatch, MultiClassMinimax
from losses.rotation import Rotation, rotate, rotate_by_quarters, rotation_labels
from losses.term import Step
from randomness import Draws
from runs.build import build_game

CONF = str(Path(__file__).parent.parent / "conf")
SHAPE = (3, 16, 16)
SMALL = {"iterations": 2, "batch_size": 8, "n_dis": 2, "precision": "32", "log_every": 1}
N = 8


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


def a_step(real=None, fake=None, seed=0, player="discriminator", **fields):
    n = len(fake if fake is not None else real)
    draws = Draws(seed, "update", 0, player, 0)
    return Step(0, 1, draws, real=real, fake=fake, latents=torch.zeros(n, 2), **fields)


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
    present = {"real": step.real, "fake": step.fake}
    step.features = {name: Pooled(x) for name, x in present.items() if x is not None}
    step.features |= {name: Pooled(view.images) for name, view in views.items()}
    return views


def loss(term, step, player):
    look(term, step, player)
    return getattr(term, f"{player}_loss")(step)


def batch(n=N, size=2, offset=0):
    """Images (n, 3, size, size) that tell number, position and angle: all values differ."""
    return torch.arange(3 * n * size * size).float().view(n, 3, size, size) + 1 + offset


def networks(**conditional):
    torch.manual_seed(0)
    return (
        LiteGenerator(shape=SHAPE, width=8, latent_dim=8, **conditional),
        LiteDiscriminator(shape=SHAPE, width=8, **conditional),
    )


def game(method, **settings):
    return method(*networks(), **{**SMALL, **settings})


def assert_equal_states(a, b):
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


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
    logits = term.head(step.features["fake"].pooled / 1000)
    step.features["fake"].pooled /= 1000
    on_real = term.head(step.features["rotated real"].pooled)
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
        images = term.discriminator_views(step)["mixed"].images
        classes = term._targets
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
        images = term.discriminator_views(a_step(batch(), batch(offset=1000), seed))["mixed"].images
        assert images.max() < 1000
        assert term._targets.max() < ANGLES


def test_draws_are_keyed():
    def drawn(seed):
        term = attached(MultiClassMatch())
        return term.discriminator_views(a_step(batch(), batch(), seed))["mixed"].images

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))


def test_reals_and_fakes_are_matched_at_the_same_images_and_angles():
    term = attached(MultiClassMatch())
    real, fake = batch(), batch(offset=1000)
    views = term.generator_views(a_step(real, fake))
    assert torch.equal(views["matching fake"].images, views["matched real"].images + 1000)
    assert len(term._targets) == N
    assert term._targets.max() < ANGLES  # never the class of fakes


def test_labels_go_with_their_images():
    term = attached(MultiClassMatch())
    labels, fake_labels = torch.arange(N), torch.arange(N) + 100
    step = a_step(batch(), batch(offset=1000), labels=labels, fake_labels=fake_labels)
    images, drawn = term.discriminator_views(step)["mixed"]
    for image, label in zip(images, drawn.tolist(), strict=True):
        assert (label >= 100) == (image.min() > 1000)
        assert (image.min().item() - 1) % 1000 // 12 == label % 100
    for name, view in term.generator_views(step).items():
        assert (view.labels >= 100).all() == (name == "matching fake")


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
    views = getattr(term, f"{player}_views")(step)
    step.features = {
        name: type("Features", (), {"pooled": states_of(view.images)})
        for name, view in views.items()
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


# The game ---------------------------------------------------------------------------------------

BOTH = [(MSGAN, MultiClassMinimax), (SSAdvGAN, MultiClassMatch)]


def test_published_weights():
    assert (MultiClassMinimax().discriminator_weight, MultiClassMinimax().generator_weight) == (
        *(1.0, 0.2),
    )
    assert (MultiClassMatch().discriminator_weight, MultiClassMatch().generator_weight) == (
        0.5,
        0.1,
    )
    assert not MultiClassMatch().rotate_fakes_in_d
    assert MultiClassMinimax().rotate_fakes_in_d


@pytest.mark.parametrize(("method", "term"), BOTH)
def test_the_method_is_sngan_with_the_term(method, term):
    assert_equal_states(
        play(game(method), stop=1), play(game(SNGAN, terms={"multi_class": term()}), stop=1)
    )


@pytest.mark.parametrize(("method", "term"), BOTH)
def test_weights_zero_are_exactly_sngan(method, term):
    base = play(game(SNGAN))
    without = game(method, terms={"multi_class": term(0.0, 0.0)})
    assert without.real_batches_per_iteration == base.real_batches_per_iteration
    play(without)
    for name, tensor in base.state_dict().items():
        assert torch.equal(tensor, without.state_dict()[name]), name


def test_helping_the_discriminator_alone_leaves_the_generators_loss_as_it_was():
    """d_ss = ss, g_ss = none, any weight: G's gradients are those of the base game."""
    still = {"discriminator_optimizer": partial(torch.optim.SGD, lr=0.0)}
    # Nothing but the generator moves, and no power iteration tells the two games apart.
    torch.manual_seed(0)
    pair = (
        LiteGenerator(shape=SHAPE, width=8, latent_dim=8),
        LiteDiscriminator(shape=SHAPE, width=8, spectral_norm=False),
    )
    term = MultiClassMatch(0.7, 0.0, fake_class=False)
    helped = SNGAN(*copy.deepcopy(pair), terms={"multi_class": term}, **SMALL, **still)
    assert helped.players()[1].sees_reals is False
    assert_equal_states(play(SNGAN(*pair, **SMALL, **still)).generator, play(helped).generator)


def test_the_generator_gets_reals_where_it_matches_them():
    sees = {
        "match": MultiClassMatch(),
        "confuse": MultiClassMatch(generator_task="confuse"),
        "minimax": MultiClassMinimax(),
    }
    for task, term in sees.items():
        played = game(SNGAN, terms={"multi_class": term})
        assert played.players()[1].sees_reals == (task == "match")
        assert played.real_batches_per_iteration == 2 + (task == "match")


def test_ss_adv_gan_and_released_ms_gan_share_one_term():
    with initialize_config_dir(CONF, version_base="1.3"):
        small = ["network=lite", "network.generator.width=8", "network.discriminator.width=8"]
        small += ["iterations=1", "batch_size=8"]
        games = [
            build_game(compose("train", [*overrides, *small]), (3, 16, 16), 0)
            for overrides in (["gan=ss_adv_gan"], ["gan=ms_gan", "terms=[multi_class_match]"])
        ]
    assert [type(g) for g in games] == [SSAdvGAN, MSGAN]
    a, b = (play(g) for g in games)
    assert a.last_losses == b.last_losses
    assert_equal_states(a, b)


def test_the_command_line_reaches_ms_gan():
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("train", ["gan=ms_gan", "terms=[multi_class,infomax]", "iterations=1"])
    assert config.terms.multi_class.generator_weight == 0.2
    assert config.network.discriminator.pooling == "sum"
    assert set(config.terms) == {"multi_class", "infomax"}


@pytest.mark.parametrize("mover", ["discriminator", "generator"])
@pytest.mark.parametrize(("method", "term"), BOTH)
def test_each_player_changes_its_own_parameters_only(method, term, mover):
    frozen = {"discriminator": "generator", "generator": "discriminator"}[mover]
    played = game(method, **{f"{frozen}_optimizer": partial(torch.optim.SGD, lr=0.0)})
    before = snapshot(played)
    play(played, stop=1)
    moved = changed(before, played)
    own = ("discriminator.", "terms.") if mover == "discriminator" else ("generator.",)
    assert {name.split(".")[0] + "." for name in moved} == set(own)


@pytest.mark.parametrize(("method", "term"), BOTH)
def test_the_class_head_learns_from_its_own_loss_alone(method, term):
    played = game(method)
    features = played.discriminator(torch.rand(4, *SHAPE))
    Hinge().discriminator(features.logits[:2], features.logits[2:]).backward()
    head = played.terms["multi_class"].head
    assert all(p.grad is None for p in head.parameters())

    played.discriminator.zero_grad(set_to_none=True)
    step = a_step(torch.rand(N, *SHAPE), torch.rand(N, *SHAPE))
    term = played.terms["multi_class"]
    views = term.discriminator_views(step)
    step.features = {name: played.discriminator(view.images) for name, view in views.items()}
    term.discriminator_loss(step).backward()
    assert all(p.grad is not None for p in head.parameters())
    assert all(p.grad is None for p in played.discriminator.head.parameters())


def test_the_penalty_leaves_the_class_head_alone():
    terms = {name: term() for name, term in WGANGP.defining_terms.items()}
    terms["multi_class"] = MultiClassMatch(0.0, 0.1)  # nothing trains its head
    played = game(WGANGP, terms=terms)
    before = snapshot(played.terms)
    play(played)
    assert not changed(before, played.terms)


@pytest.mark.parametrize(("method", "looks"), [(MSGAN, (4, 2)), (SSAdvGAN, (3, 3))])
def test_passes_of_the_discriminator(method, looks):
    calls = []

    class Spy(LiteDiscriminator):
        def features(self, images):
            calls.append(len(images))
            return super().features(images)

    generator = LiteGenerator(shape=SHAPE, width=8, latent_dim=8)
    play(method(generator, Spy(shape=SHAPE, width=8), **SMALL), stop=1)
    assert calls == [8 * looks[0]] * 2 + [8 * looks[1]]


@pytest.mark.parametrize(("method", "term"), BOTH)
def test_it_stacks_on_a_conditional_gan_and_a_critic(method, term):
    conditional = play(CGANPD(*networks(num_classes=3), terms={"multi_class": term()}, **SMALL))
    terms = {name: part() for name, part in WGANGP.defining_terms.items()}
    critic = play(game(WGANGP, terms={**terms, "multi_class": term()}))
    for played in (conditional, critic):
        assert all(math.isfinite(value) for value in played.last_losses.values())
        assert {"discriminator/multi_class", "generator/multi_class"} <= set(played.last_losses)


@pytest.mark.parametrize(("method", "term"), BOTH)
def test_it_resumes_bit_for_bit(method, term):
    straight = play(game(method, iterations=3))
    state = copy.deepcopy(play(game(method, iterations=3), stop=1).state())
    resumed = game(method, iterations=3)
    resumed.load_state(state)
    assert_equal_states(straight, play(resumed))


def test_wrong_use_is_refused():
    with pytest.raises(UserError, match="match or confuse"):
        MultiClassMatch(generator_task="fool")
    for term in (MultiClassMatch(), MultiClassMinimax()):
        with pytest.raises(UserError, match="square"):
            term.discriminator_views(a_step(torch.rand(4, 3, 2, 3), torch.rand(4, 3, 2, 3)))
