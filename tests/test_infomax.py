"""The InfoMax term: InfoNCE against a double loop, closed forms, and who learns from what."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from infomax_ranks import loss_and_gradients, play_rank
from play import changed, play, snapshot, spec_of

from saddlepoint.errors import UserError
from saddlepoint.gans import CGANPD, DCGAN, SNGAN, SSGAN, WGANGP, InfoMaxGAN
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.gans.networks.mlp import MLPDiscriminator, MLPGenerator
from saddlepoint.gans.networks.resnet import ResNetDiscriminator
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import Hinge
from saddlepoint.losses.infomax import InfoMax, info_nce
from saddlepoint.losses.rotation import Rotation
from saddlepoint.losses.term import Step, Terms
from saddlepoint.runs.build import build_game

pytestmark = pytest.mark.numerical

CONF = str(Path(__file__).parent.parent / "conf")
SHAPE = (3, 16, 16)
SMALL = {"iterations": 2, "batch_size": 8, "n_dis": 2, "precision": "32", "log_every": 1}
SOFT = math.exp(-10)


def small_infomax(*weights, **options):
    return InfoMax(*weights, projection=16, **options)


def networks(**options):
    torch.manual_seed(0)
    return (
        LiteGenerator(shape=SHAPE, width=8, latent_dim=8),
        LiteDiscriminator(shape=SHAPE, width=8, **options),
    )


def game(method=SNGAN, **settings):
    return method(*networks(), **{**SMALL, **settings})


def attached(discriminator, **options):
    term = small_infomax(**options)
    term.attach(discriminator)
    return term


def naive(globals_, locals_, masked):
    """One anchor after the other, its 1 + N L logits written out as in the reference."""
    n, _, positions = locals_.shape
    losses = []
    for i in range(n):
        for p in range(positions):
            logits = globals_[i] @ locals_[i, :, p : p + 1]
            for j in range(n):
                own = torch.full((positions,), masked).double()
                logits = torch.cat([logits, own if j == i else globals_[i] @ locals_[j]])
            losses.append(-F.log_softmax(logits, dim=0)[0])
    return torch.stack(losses).mean()


# InfoNCE ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", ["soft", "exact"])
def test_loss_of_a_step_and_its_gradient_equal_the_naive_double_loop(mask):
    discriminator = LiteDiscriminator(shape=SHAPE, width=8).eval()
    term = attached(discriminator, mask=mask).eval()
    features = discriminator(torch.rand(5, *SHAPE))
    ours = term.discriminator_loss(Step(0, 1, None, Items(), seen={"real": features}))
    projected = term.global_head(features.pooled), term.local_head(features.local).flatten(2)
    assert projected[0].shape == (5, 16)
    assert projected[1].shape == (5, 16, 64)
    theirs = naive(*(p.double() for p in projected), -10.0 if mask == "soft" else -math.inf)
    assert ours.shape == ()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)

    parameters = [*discriminator.parameters(), *term.parameters()]
    gradients = [
        torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        for loss in (ours, theirs)
    ]
    used = 0
    for a, b in zip(*gradients, strict=True):
        if a is not None:
            used += 1
            assert torch.allclose(a, b.float(), rtol=1e-3, atol=1e-5)
    assert used == len(parameters) - 2  # all but the discriminator's output layer


def test_scores_equal_the_dot_products_of_projections_on_other_networks():
    points = MLPDiscriminator(shape=(2,), width=8).eval()
    resnet = ResNetDiscriminator(shape=(3, 32, 32), width=8).eval()
    for discriminator, images in ((points, torch.rand(4, 2)), (resnet, torch.rand(4, 3, 32, 32))):
        term = attached(discriminator).eval()
        features = discriminator(images)
        locals_ = term.local_head(features.local).flatten(2)
        expected = torch.einsum("ir,jrp->ijp", term.global_head(features.pooled), locals_)
        scores = term.scores(features.pooled, features.local)
        assert torch.allclose(scores, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("n", "positions"), [(64, 64), (4, 9), (2, 1)])
def test_closed_forms(n, positions):
    # In float64: equal terms are rounded alike, and float32 sums of thousands are off by all of it.
    others = (n - 1) * positions
    zeros = torch.zeros(n, n, positions, dtype=torch.double)
    assert info_nce(zeros).item() == pytest.approx(math.log(1 + others + positions * SOFT))
    assert info_nce(zeros, mask="exact").item() == pytest.approx(math.log(1 + others))
    for c in (-3.0, 2.5):  # the mask is absolute, not relative to the scores
        expected = math.log(1 + others + positions * math.exp(-10 - c))
        assert info_nce(zeros + c).item() == pytest.approx(expected, rel=1e-5)
        assert info_nce(zeros + c, mask="exact").item() == pytest.approx(math.log(1 + others))
    # Perfect alignment: positives s, negatives 0.
    own = torch.eye(n)[:, :, None]
    losses = []
    for s in (0.0, 1.0, 5.0, 20.0):
        expected = math.log1p((others + positions * SOFT) * math.exp(-s))
        losses.append(info_nce(zeros + s * own).item())
        assert losses[-1] == pytest.approx(expected, rel=1e-5)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-4


def test_the_published_value_at_initial_zero():
    assert info_nce(torch.zeros(64, 64, 64)).item() == pytest.approx(8.3023, abs=5e-5)


@pytest.mark.parametrize("mask", ["soft", "exact"])
def test_a_batch_of_one_works(mask):
    for s in (0.0, 3.0):
        scores = torch.full((1, 1, 5), s, requires_grad=True)
        loss = info_nce(scores, mask=mask)
        expected = math.log1p(5 * math.exp(-10 - s)) if mask == "soft" else 0.0
        assert loss.item() == pytest.approx(expected, rel=1e-4)
        loss.backward()
        assert torch.isfinite(scores.grad).all()
        assert scores.grad.abs().max() < 1e-4


def test_joint_permutations_change_nothing_and_mismatches_cost():
    globals_ = torch.randn(6, 8, dtype=torch.double)
    locals_ = globals_[:, :, None] + 0.1 * torch.randn(6, 8, 9, dtype=torch.double)

    def loss(m, x):
        return info_nce(torch.einsum("ir,jrp->ijp", m, x)).item()

    images, positions = torch.randperm(6), torch.randperm(9)
    assert loss(globals_[images], locals_[images]) == pytest.approx(loss(globals_, locals_))
    assert loss(globals_, locals_[:, :, positions]) == pytest.approx(loss(globals_, locals_))
    assert loss(globals_.roll(1, 0), locals_) > loss(globals_, locals_) + 1


def test_mutual_information_bound_saturates():
    n, positions = 5, 4
    most = math.log((n - 1) * positions + 1)
    for scale in (0.1, 1.0, 10.0, 100.0):
        assert info_nce(scale * torch.randn(n, n, positions), mask="exact") >= 0
    zeros = torch.zeros(n, n, positions, dtype=torch.double)
    assert most - info_nce(zeros, mask="exact").item() == pytest.approx(0, abs=1e-12)
    aligned = 1000.0 * torch.eye(n)[:, :, None].expand(n, n, positions)
    assert most - info_nce(aligned, mask="exact").item() == pytest.approx(most)


@pytest.mark.parametrize("mask", ["soft", "exact"])
def test_an_own_score_gets_gradient_from_its_own_anchor_alone(mask):
    n, positions = 4, 3
    scores = torch.randn(n, n, positions, dtype=torch.double, requires_grad=True)
    info_nce(scores, mask=mask).backward()
    gradient, scores = scores.grad, scores.detach()
    for i in range(n):
        others = [scores[i, j, q] for j in range(n) if j != i for q in range(positions)]
        rest = sum(math.exp(s) for s in others) + positions * SOFT * (mask == "soft")
        for p in range(positions):
            own = math.exp(scores[i, i, p])
            expected = -(1 - own / (own + rest)) / (n * positions)
            assert gradient[i, i, p].item() == pytest.approx(expected, rel=1e-6)


def test_collapse_is_dear():
    n, positions = 6, 4
    floor = math.log((n - 1) * positions)
    for scale in (0.1, 1.0, 10.0):  # identical images: s(i, j, p) = s(p), whatever it is
        alike = (scale * torch.randn(positions)).expand(n, n, positions)
        assert info_nce(alike).item() >= floor
        diverse = scale * torch.eye(n)[:, :, None].expand(n, n, positions)
        assert info_nce(diverse) < info_nce(alike)


def test_large_scores_stay_finite():
    scores = (1e4 * torch.randn(4, 4, 3)).requires_grad_()
    loss = info_nce(scores)
    loss.backward()
    assert loss.isfinite()
    assert scores.grad.isfinite().all()


def test_unknown_mask_is_refused():
    with pytest.raises(UserError, match="give soft or exact"):
        InfoMax(mask="hard")


# Heads ------------------------------------------------------------------------------------------

COUNTS = {32: 1_615_233, 48: 14_603_521, 64: 14_603_521, 128: 35_315_457}
SHAPES = {  # of the local map and the pooled vector, at a sixteenth of the published width
    32: ((8, 8, 8), 8),
    48: ((32, 3, 3), 64),
    64: ((32, 4, 4), 64),
    128: ((64, 4, 4), 64),
}


@pytest.mark.parametrize("size", COUNTS)
def test_parameter_counts_are_the_published_ones(size):
    with torch.device("meta"):  # spectral norm, which has no parameters, does not run there
        discriminator = ResNetDiscriminator(shape=(3, size, size), spectral_norm=False)
        term = InfoMax()
        term.attach(discriminator)
    parameters = [*discriminator.parameters(), *term.parameters()]
    assert sum(p.numel() for p in parameters) == COUNTS[size]


@pytest.mark.parametrize("size", SHAPES)
def test_shapes_are_the_published_ones(size):
    local, pooled = SHAPES[size]
    discriminator = ResNetDiscriminator(shape=(3, size, size), width=pooled)
    term = attached(discriminator)
    features = discriminator(torch.rand(2, 3, size, size))
    assert features.local.shape == (2, *local)
    assert features.local.min() == 0  # rectified, as the published runs have it
    assert features.pooled.shape == (2, pooled)
    assert term.local_head(features.local).shape == (2, 16, *local[1:])
    assert term.global_head(features.pooled).shape == (2, 16)
    assert term.scores(features.pooled, features.local).shape == (2, 2, local[1] * local[2])


@pytest.mark.parametrize("spectral_norm", [True, False])
def test_heads_have_spectral_norm_where_the_discriminator_has(spectral_norm):
    term = attached(LiteDiscriminator(shape=SHAPE, width=8, spectral_norm=spectral_norm))
    names = {name for name, _ in term.named_parameters()}
    assert len(names) == 12  # two heads of three layers with weight and bias
    assert any("parametrizations" in name for name in names) == spectral_norm
    if spectral_norm:
        norm = torch.linalg.matrix_norm(term.eval().global_head.output.weight, 2)
        assert norm.item() == pytest.approx(1, abs=0.05)


def test_heads_make_one_power_iteration_per_loss():
    discriminator = LiteDiscriminator(shape=SHAPE, width=8)
    term = attached(discriminator)
    layers = [layer for head in (term.local_head, term.global_head) for layer in head.children()]
    iterations = []
    for layer in layers:
        norm = layer.parametrizations.weight[0]
        norm.register_forward_hook(lambda *_, name=id(layer): iterations.append(name))
    features = discriminator(torch.rand(4, *SHAPE))
    term.generator_loss(Step(0, 1, None, Items(), seen={"fake": features}))
    assert sorted(iterations) == sorted(id(layer) for layer in layers)


def test_each_head_learns_from_its_own_loss_alone():
    played = game(InfoMaxGAN, terms={"infomax": small_infomax()})
    discriminator, term = played.discriminator, played.terms["infomax"]
    features = discriminator(torch.rand(8, *SHAPE))
    Hinge().discriminator(features.logits[:4], features.logits[4:]).backward()
    assert all(p.grad is None for p in term.parameters())
    assert all(p.grad is not None for p in discriminator.head.parameters())

    discriminator.zero_grad(set_to_none=True)
    features = discriminator(torch.rand(4, *SHAPE))
    term.discriminator_loss(Step(0, 1, None, Items(), seen={"real": features})).backward()
    assert all(p.grad is None for p in discriminator.head.parameters())
    assert all(p.grad is not None for p in term.parameters())
    trunk = [p for name, p in discriminator.named_parameters() if not name.startswith("head")]
    assert all(p.grad is not None for p in trunk)


# The game ---------------------------------------------------------------------------------------


def test_infomax_gan_is_sngan_with_the_term_and_published_weights():
    assert InfoMaxGAN.defining_terms == {"infomax": InfoMax}
    term = InfoMax()
    assert (term.discriminator_weight, term.generator_weight) == (0.2, 0.2)
    assert (term.projection, term.mask) == (1024, "soft")
    a = play(game(InfoMaxGAN, terms={"infomax": small_infomax()}))
    b = play(game(SNGAN, terms={"infomax": small_infomax()}))
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


def test_weights_zero_are_exactly_sngan():
    base = play(game(SNGAN))
    without = play(game(InfoMaxGAN, terms={"infomax": small_infomax(0.0, 0.0)}))
    for name, tensor in base.state_dict().items():
        assert torch.equal(tensor, without.state_dict()[name]), name


@pytest.mark.parametrize("mover", ["discriminator", "generator"])
def test_each_player_changes_its_own_parameters_only(mover):
    frozen = {"discriminator": "generator", "generator": "discriminator"}[mover]
    played = game(
        InfoMaxGAN,
        terms={"infomax": small_infomax()},
        **{f"{frozen}_optimizer": partial(torch.optim.SGD, lr=0.0)},
    )
    before = snapshot(played)
    play(played, stop=1)
    moved = changed(before, played)
    own = ("discriminator.", "terms.infomax.") if mover == "discriminator" else ("generator.",)
    assert {name.split(".")[0] for name in moved} == {o.split(".")[0] for o in own}
    assert all(name.startswith(own) for name in moved)


def test_the_discriminator_learns_from_reals_and_the_generator_from_fakes():
    discriminator = LiteDiscriminator(shape=SHAPE, width=8)
    terms = Terms({"infomax": small_infomax()}, discriminator)
    term = terms["infomax"]
    real, fake = (torch.rand(4, *SHAPE, requires_grad=True) for _ in range(2))
    step = Step(
        0, 1, None, Items(), seen={"real": discriminator(real), "fake": discriminator(fake)}
    )
    assert not terms.views("discriminator", step)
    assert not terms.views("generator", step)
    term.discriminator_loss(step).backward()
    assert fake.grad is None
    assert real.grad.abs().sum() > 0
    real.grad = None
    term.generator_loss(step).backward()
    assert real.grad is None
    assert fake.grad.abs().sum() > 0


def test_infomax_costs_no_pass_of_the_discriminator():
    calls = []

    class Spy(LiteDiscriminator):
        def features(self, images):
            calls.append(len(images))
            return super().features(images)

    generator = LiteGenerator(shape=SHAPE, width=8, latent_dim=8)
    discriminator = Spy(shape=SHAPE, width=8)
    terms = {"infomax": small_infomax(), "rotation": Rotation()}
    play(SNGAN(generator, discriminator, terms=terms, **SMALL), stop=1)
    assert calls == [24, 24, 16]  # those of SSGAN


def test_the_loss_is_float32_in_a_bfloat16_game():
    class Watcher(InfoMax):
        def scores(self, pooled, local):
            scores = super().scores(pooled, local)
            seen.append((pooled.dtype, local.dtype, scores.dtype))
            return scores

    seen = []
    play(game(terms={"infomax": Watcher(projection=16)}, precision="bf16"), stop=1)
    assert seen == [(torch.float32,) * 3] * 3


@pytest.mark.parametrize("method", [SNGAN, SSGAN, WGANGP, CGANPD, DCGAN])
def test_it_stacks_on_the_baselines(method):
    conditional = {"condition": Classes(3)} if method is CGANPD else {}
    if method is DCGAN:
        generator = DCGANGenerator(shape=SHAPE, width=8, latent_dim=8)
        discriminator = DCGANDiscriminator(shape=SHAPE, width=8)
    else:
        generator = LiteGenerator(shape=SHAPE, width=8, latent_dim=8, **conditional)
        discriminator = LiteDiscriminator(shape=SHAPE, width=8, **conditional)
    terms = {name: term() for name, term in method.defining_terms.items()}
    terms["infomax"] = small_infomax()
    played = play(method(generator, discriminator, terms=terms, **conditional, **SMALL))
    assert all(math.isfinite(loss) for loss in played.last_losses.values())
    assert {"discriminator/infomax", "generator/infomax"} <= set(played.last_losses)


def test_it_stacks_on_points():
    pair = MLPGenerator(shape=(2,), width=8), MLPDiscriminator(shape=(2,), width=8)
    played = play(SNGAN(*pair, terms={"infomax": small_infomax()}, **SMALL))
    assert math.isfinite(played.last_losses["generator/infomax"])


@pytest.mark.parametrize(
    "overrides", [["gan=infomax_gan"], ["gan=ssgan", "terms=[rotation,infomax]"]]
)
def test_the_command_line_reaches_it(overrides):
    small = ["network=lite", "network.generator.width=8", "network.discriminator.width=8"]
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("train", [*overrides, *small, "iterations=1", "batch_size=4"])
    played = play(build_game(config, spec_of((3, 32, 32))))
    assert isinstance(played.terms["infomax"], InfoMax)
    assert played.last_losses["generator/infomax"] > 0


# Several processes ------------------------------------------------------------------------------


def test_gathered_negatives_make_two_processes_equal_one(tmp_path):
    images = torch.rand(6, 3, 6, 6)
    torch.multiprocessing.spawn(play_rank, (str(tmp_path), images), nprocs=2)
    averaged, expected = torch.load(tmp_path / "averaged.pt"), loss_and_gradients(images)
    assert len(averaged) == len(expected) == 1 + 2 + 12
    for a, b in zip(averaged, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)
