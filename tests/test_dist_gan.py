"""Dist-GAN and the games on it: losses in closed form, who moves, and what terms add."""

import copy
from functools import partial

import pytest
import torch
from play import Made, changed, play, snapshot, spec_of
from torch import nn
from train_cli import ROOT, composed

from saddlepoint.errors import UserError
from saddlepoint.gans import GNGAN, DistGAN, MSDistGAN, SSAdvDistGAN
from saddlepoint.gans.dist_gan import averages_untouched
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteEncoder, LiteGenerator
from saddlepoint.gans.networks.mlp import MLPDiscriminator, MLPEncoder, MLPGenerator
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import Hinge, Minimax, RelativisticPairing, ScoreMatching
from saddlepoint.losses.gradient_matching import GradientMatching
from saddlepoint.losses.gradient_penalty import WassersteinGradientPenalty
from saddlepoint.losses.multi_class import MultiClassMatch
from saddlepoint.losses.neighbour_embedding import NeighbourEmbedding, neighbour_divergence
from saddlepoint.losses.schedule import at
from saddlepoint.losses.term import Step
from saddlepoint.randomness import Draws
from saddlepoint.runs.build import build_game

pytestmark = pytest.mark.numerical

SHAPE, CODE, N = (3, 16, 16), 6, 8
SMALL = {"iterations": 4, "batch_size": N, "precision": "32", "log_every": 1}
PLAYERS = ("encoder", "discriminator", "generator")
STILL = partial(torch.optim.SGD, lr=0.0)


def game(method=DistGAN, points=False, networks_seed=0, **settings):
    torch.manual_seed(networks_seed)
    if points:
        networks = (
            MLPEncoder(shape=(2,), width=16),
            MLPGenerator(shape=(2,), width=16),
            MLPDiscriminator(shape=(2,), width=16),
        )
    else:
        networks = (
            LiteEncoder(shape=SHAPE, latent_dim=CODE, width=8),
            LiteGenerator(shape=SHAPE, latent_dim=CODE, width=8),
            LiteDiscriminator(shape=SHAPE, width=8, spectral_norm=False),
        )
    return method(*networks, **{**SMALL, "terms": terms_of(method), **settings})


def terms_of(method):
    """The paper's penalty, and what defines the method."""
    penalty = {"gradient_penalty": WassersteinGradientPenalty(1.0, norm="rms")}
    return penalty | {name: make() for name, make in method.defining_terms.items()}


def a_step(iteration=0, total=1):
    generator = torch.Generator().manual_seed(0)
    real = Items(image=torch.rand(N, *SHAPE, generator=generator) * 2 - 1)
    latents = torch.rand(N, CODE, generator=generator) * 2 - 1
    return Step(iteration, total, Draws(0), Items(latents=latents), [real])


def parts(made, step):
    """What the three networks make of a step, for sums by hand."""
    made = copy.deepcopy(made)
    real, z = step.real.image, step.inputs.latents
    codes = made.encoder(real)
    rebuilt, fake = made.generator(codes), made.generator(z)
    return codes, rebuilt, fake, made.discriminator


# The adversarial loss ---------------------------------------------------------------------------


def test_score_matching_lies_in_0_1_and_is_symmetric():
    real, fake = torch.tensor([[30.0], [40.0]]), torch.tensor([[-30.0], [-40.0]])
    loss = ScoreMatching()
    assert loss.generator(fake, real).item() == pytest.approx(1)
    assert loss.generator(real, real).item() == 0
    a, b = torch.randn(2, 6, 1)
    assert loss.generator(a, b) == loss.generator(b, a)
    expected = (torch.sigmoid(a).mean() - torch.sigmoid(b).mean()).abs()
    assert torch.equal(loss.generator(a, b), expected)


def test_the_gradient_turns_round_where_fakes_overtake_reals():
    real = torch.zeros(4, 1)
    for offset, sign in ((-0.5, -1), (0.5, 1)):
        fake = torch.full((4, 1), offset, requires_grad=True)
        ScoreMatching().generator(fake, real).backward()
        assert torch.equal(fake.grad.sign(), torch.full((4, 1), float(sign)))
    fake = torch.zeros(4, 1, requires_grad=True)
    ScoreMatching().generator(fake, real).backward()
    assert torch.equal(fake.grad, torch.zeros(4, 1))


def test_its_discriminator_is_that_of_the_form_chosen():
    a, b = 3 * torch.randn(2, 6, 1)
    for form, loss in (("minimax", Minimax()), ("hinge", Hinge())):
        assert torch.equal(ScoreMatching(form).discriminator(a, b), loss.discriminator(a, b))
    on_sigmoids = ScoreMatching("hinge", hinge_on="sigmoid").discriminator(a, b)
    # The hinge of a number in (0, 1) never saturates.
    expected = 2 - a.sigmoid().mean() + b.sigmoid().mean()
    torch.testing.assert_close(on_sigmoids, expected)


# The discriminator ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("t", "share", "rate"),
    [(0, 0.05, 0.5), (0.5, 0.05, 0.5), (0.625, 0.025, 0.375), (0.75, 0, 0.25), (1, 0, 0)],
)
def test_schedules_of_the_release(t, share, rate):
    assert at(game().reconstruction_share, t) == pytest.approx(share)
    config = composed(["experiment=dist_gan_cifar10", "network.generator.width=8"])
    schedule = build_game(config, spec_of((3, 32, 32))).lr_schedule
    assert schedule(t) == pytest.approx(rate)


@pytest.mark.parametrize(
    "loss", [ScoreMatching("minimax"), ScoreMatching("hinge"), RelativisticPairing()], ids=repr
)
@pytest.mark.parametrize("share", [None, 0.5, 0.0])
def test_reconstructions_are_reals_of_their_share(loss, share):
    made, step = game(adversarial=loss, reconstruction_share=share), a_step()
    _, rebuilt, fake, judge = parts(made, step)
    on = {
        name: judge(image).logits
        for name, image in (("real", step.real.image), ("rebuilt", rebuilt), ("fake", fake))
    }
    w = 0.05 if share is None else share
    expected = (1 - w) * loss.discriminator(on["real"], on["fake"])
    expected = expected + w * loss.discriminator(on["rebuilt"], on["fake"])
    losses = made.discriminator_loss(step)
    assert set(losses) == {"adversarial", "gradient_penalty"}
    torch.testing.assert_close(losses["adversarial"], expected)
    if isinstance(loss, ScoreMatching):  # the page's formula
        real_side = (1 - w) * loss.on_real(on["real"]) + w * loss.on_real(on["rebuilt"])
        torch.testing.assert_close(expected, real_side + loss.on_fake(on["fake"]))
    assert ("rebuilt" in step.views) == (w > 0)
    sum(losses.values()).backward()
    frozen = [*made.encoder.parameters(), *made.generator.parameters()]
    assert all(parameter.grad is None for parameter in frozen)


@pytest.mark.parametrize("t", [0, 0.6, 0.9])
def test_a_constant_discriminator(t):
    made = game(adversarial=ScoreMatching("minimax"))
    for parameter in made.discriminator.head.parameters():
        nn.init.zeros_(parameter)
    losses = made.discriminator_loss(a_step(int(1000 * t), 1000))
    assert losses["adversarial"].item() == pytest.approx(2 * torch.tensor(2.0).log().item())
    assert losses["gradient_penalty"].item() == pytest.approx(1)  # lambda_p = 1
    assert made.generator_loss(a_step())["adversarial"].item() == 0


def test_the_penalty_of_a_linear_critic():
    w, d = torch.randn(3, 4, 4), 48
    real, fake = torch.randn(2, 5, 3, 4, 4)

    def penalty(**settings):
        term = WassersteinGradientPenalty(**settings)
        return term.penalty(lambda x: (x * w).flatten(1).sum(1), real, fake, Draws(0)).item()

    length = w.norm().item()
    assert penalty() == pytest.approx((length - 1) ** 2, rel=1e-4)
    rms = length / d**0.5
    assert penalty(norm="rms") == pytest.approx((rms - 1) ** 2, rel=1e-4, abs=1e-6)
    assert penalty(norm="rms", maximised=True) == -penalty(norm="rms")
    # By values in [0, 1], of which those in [-1, 1] are twice as many, gradients are twice as long.
    in_unit_range = penalty(norm="rms", values="0..1")
    assert in_unit_range == pytest.approx((2 * rms - 1) ** 2, rel=1e-4, abs=1e-6)


def test_batch_norm_is_refused_unless_it_is_asked_for():
    mixing = nn.Module()
    mixing.mixes_samples = True
    with pytest.raises(UserError, match="batch norm"):
        WassersteinGradientPenalty().attach(mixing)
    WassersteinGradientPenalty(mixes_samples=True).attach(mixing)


# The encoder ------------------------------------------------------------------------------------


def test_reconstruction_and_distance_are_those_of_the_page():
    made, step = game(distance_weight=3.0), a_step()
    codes, rebuilt, fake, judge = parts(made, step)
    phi = [judge(image).local.flatten(1) for image in (step.real.image, rebuilt, fake)]
    scale = (CODE / phi[0].shape[1]) ** 0.5
    between_images = (phi[1] - phi[2]).mean()
    between_latents = scale * (codes - step.inputs.latents).mean()
    losses = made.encoder_loss(step)
    assert set(losses) == {"reconstruction", "distance"}
    torch.testing.assert_close(losses["reconstruction"], (phi[0] - phi[1]).square().mean())
    torch.testing.assert_close(losses["distance"], 3 * (between_images - between_latents) ** 2)


def test_reconstruction_in_pixels_and_a_scale_of_ones_own():
    made, step = game(reconstruction_space="pixels", distance_scale=0.25), a_step()
    codes, rebuilt, fake, judge = parts(made, step)
    losses = made.encoder_loss(step)
    expected = (step.real.image - rebuilt).square().mean()
    torch.testing.assert_close(losses["reconstruction"], expected)
    between_images = (judge(rebuilt).local - judge(fake).local).mean()
    between_latents = 0.25 * (codes - step.inputs.latents).mean()
    torch.testing.assert_close(losses["distance"], (between_images - between_latents) ** 2)


class Fixed(nn.Module):
    """Gives the same outputs whatever comes in; ``shape`` and so on as networks have them."""

    def __init__(self, outputs, **attributes):
        super().__init__()
        self.outputs = nn.Parameter(outputs)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, inputs, condition=None):
        return self.outputs


def test_codes_that_are_the_latents_are_no_distance_apart():
    made, step = game(), a_step()
    made.encoder = Fixed(step.inputs.latents)
    assert made.encoder_loss(step)["distance"].item() == pytest.approx(0, abs=1e-12)


def test_under_a_constant_generator_the_distance_is_that_of_codes():
    made, step = game(), a_step()
    made.generator = Fixed(torch.zeros(N, *SHAPE), shape=SHAPE, latent_dim=CODE)
    phi = made.discriminator(torch.zeros(N, *SHAPE)).local[0]
    codes = made.encoder(step.real.image)
    expected = CODE / phi.numel() * (codes - step.inputs.latents).mean() ** 2
    torch.testing.assert_close(made.encoder_loss(step)["distance"], expected)


def test_without_a_distance_in_pixels_it_is_an_auto_encoder_and_nobody_judges(monkeypatch):
    made = game(reconstruction_space="pixels", distance_weight=0.0)
    monkeypatch.setattr(made.discriminator, "forward", None)
    assert set(made.encoder_loss(a_step())) == {"reconstruction"}


def test_averages_of_batch_norm_are_of_latents_alone():
    generator = LiteGenerator(shape=SHAPE, latent_dim=CODE, width=8)
    before, codes = snapshot(generator), torch.randn(N, CODE)
    with averages_untouched(generator):
        images = generator(codes)
    assert all(torch.equal(before[name], tensor) for name, tensor in snapshot(generator).items())
    assert torch.equal(images, generator(codes))  # by the batch, as without
    average = generator.norms[0].norm.running_mean
    assert not torch.equal(before["norms.0.norm.running_mean"], average)


# Players ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mover", PLAYERS)
@pytest.mark.parametrize("trains", ["encoder", "generator", "both"])
def test_each_player_changes_only_its_networks(mover, trains):
    own = {"encoder": {trains}, "discriminator": {"discriminator"}, "generator": {"generator"}}
    if trains == "both":
        own["encoder"] = {"encoder", "generator"}
    still = {f"{player}_optimizer": STILL for player in PLAYERS if player != mover}
    made = game(encoder_trains=trains, **still)
    before = snapshot(made)
    play(made, stop=1)
    assert {name.split(".")[0] for name in changed(before, made)} == own[mover]


def test_each_player_sees_fresh_reals_and_kimg_counts_those_of_the_discriminator():
    seen = []

    class Watcher(DistGAN):
        def update(self, player, step):
            seen.append((player.name, step.real.image, step.inputs.latents))
            super().update(player, step)

    made = game(Watcher, n_dis=2)
    assert made.batches_per_iteration == 4
    play(made, stop=1)
    assert [name for name, *_ in seen] == ["encoder", "discriminator", "discriminator", "generator"]
    for i in range(4):
        for j in range(i):
            assert not torch.equal(seen[i][1], seen[j][1]), (i, j)
            assert not torch.equal(seen[i][2], seen[j][2]), (i, j)
    assert all(z.abs().max() <= 1 for *_, z in seen)
    assert made.kimg == 2 * N / 1000


def test_pictures_show_what_becomes_of_the_data():
    made = play(game(ema_half_life_kimg=0.05), stop=1)
    images = torch.rand(5, *SHAPE) * 2 - 1

    class Data:
        held_out = None
        spec = spec_of(SHAPE, num_items=5)

        def items_at(self, indices):
            return Items(image=images[indices])

    before = snapshot(made)
    pictures = made.pictures(range(5), data=Data())
    assert list(pictures) == ["input", "reconstruction", "samples"]
    assert torch.equal(pictures["input"], images)
    assert all(torch.equal(before[name], tensor) for name, tensor in snapshot(made).items())
    with torch.no_grad():
        rebuilt = made.generator.train()(made.encoder.eval()(images))
    torch.testing.assert_close(pictures["reconstruction"], rebuilt)
    assert list(game(points=True).pictures(range(5), data=Data())) == ["samples"]


# What stacks ------------------------------------------------------------------------------------


def test_gn_gan_without_its_terms_has_dist_gans_generator():
    made = game(GNGAN)
    made.terms["gradient_matching"] = GradientMatching(gradient_weight=0.0, product_weight=0.0)
    losses = made.generator_loss(a_step())
    assert set(losses) == {"adversarial", "gradient_matching"}
    assert losses["gradient_matching"].item() == 0
    plain = game().generator_loss(a_step())
    assert set(plain) == {"adversarial"}
    torch.testing.assert_close(losses["adversarial"], plain["adversarial"])


def test_gn_gan_embeds_latents_and_codes_in_the_encoders_update():
    made, step = game(GNGAN), a_step()
    codes, rebuilt, fake, _ = parts(made, step)
    losses = made.encoder_loss(step)
    assert set(losses) == {"reconstruction", "neighbour_embedding"}
    expected = neighbour_divergence(
        torch.cat([step.inputs.latents, codes]), torch.cat([fake, rebuilt])
    )
    torch.testing.assert_close(losses["neighbour_embedding"], expected)
    loss = losses["neighbour_embedding"]
    for name in ("encoder", "generator"):
        weights = list(getattr(made, name).parameters())
        found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        assert any(g is not None and g.abs().sum() > 0 for g in found), name


def test_neighbours_in_the_encoders_update_are_compared_by_features_too():
    terms = {"neighbour_embedding": NeighbourEmbedding(0.0, encoder_weight=2.0, space="features")}
    made, step = game(terms={**terms_of(DistGAN), **terms}), a_step()
    codes, rebuilt, fake, judge = parts(made, step)
    images = torch.cat([judge(fake).local, judge(rebuilt).local])
    expected = neighbour_divergence(torch.cat([step.inputs.latents, codes]), images)
    torch.testing.assert_close(made.encoder_loss(step)["neighbour_embedding"], 2 * expected)


def test_the_preset_moves_neighbour_embedding_to_the_generators_update():
    config = composed(["gan=gn_gan_ne_on_g_step", "network.generator.width=8"])
    made = build_game(config, spec_of(SHAPE))
    assert isinstance(made, GNGAN)
    losses = play_two(made)
    assert "generator/neighbour_embedding" in losses
    assert "encoder/neighbour_embedding" not in losses


def play_two(made):
    """Losses of two iterations."""
    made.iterations, made.batch_size, made.log_every = 2, N, 1
    return play(made).last_losses


# latent_consistency needs conditions of a representation: tests/test_latent_conditioned.py
TERMS = sorted(
    {path.stem for path in (ROOT / "conf" / "terms").glob("*.yaml")} - {"latent_consistency"}
)
TINY = [f"network.{name}.width=8" for name in ("encoder", "generator", "discriminator")]


@pytest.mark.parametrize("condition", ["none", "classes"])
@pytest.mark.parametrize("name", TERMS)
def test_every_term_stacks_on_it(name, condition):
    words = ["gan=dist_gan", f"terms=[{name}]", f"condition={condition}", *TINY]
    made = build_game(composed([*words, "gan.precision=32"]), spec_of(SHAPE, 3))
    losses = play_two(made)
    for term in made.terms:
        assert any(loss.endswith(f"/{term}") for loss in losses), term


@pytest.mark.parametrize("method", [MSDistGAN, SSAdvDistGAN])
def test_weights_0_are_exactly_dist_gan(method):
    base, made = game(), game(method)
    made.terms["multi_class"].discriminator_weight = 0.0
    made.terms["multi_class"].generator_weight = 0.0
    play(base), play(made)
    for name, tensor in base.state_dict().items():
        assert torch.equal(tensor, made.state_dict()[name]), name


def test_the_task_alone_leaves_the_generators_gradient_as_it_is():
    """SS on reals, nothing for the generator: whatever the weight."""
    task = MultiClassMatch(0.7, generator_weight=0.0, fake_class=False)
    made = game(terms={**terms_of(DistGAN), "multi_class": task})
    assert task.head.out_features == 4
    base = game()
    for one in (made, base):
        sum(one.generator_loss(a_step()).values()).backward()
    pairs = zip(made.generator.parameters(), base.generator.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs)


def test_one_method_under_two_names():
    overrides = ["network.generator.width=8", "network.discriminator.width=8", "gan.precision=32"]
    games = [
        build_game(composed([f"gan={name}", *overrides]), spec_of(SHAPE))
        for name in ("ms_dist_gan", "ss_adv_dist_gan")
    ]
    assert [type(made) for made in games] == [MSDistGAN, SSAdvDistGAN]
    losses = [play_two(made) for made in games]
    assert losses[0] == losses[1]
    assert {"discriminator/multi_class", "generator/multi_class"} <= set(losses[0])
    assert games[0].terms["multi_class"].head.out_features == 5


#: Weights of the drivers released with MS-GAN, by preset: of discriminator and generator.
RELEASED = {
    "cifar10": (0.5, 0.1),
    "sncnn_cifar10": (1.0, 0.01),
    "stl10": (1.0, 0.01),
    "sncnn_stl10": (0.5, 0.05),
    "celeba64": (1.0, 0.1),
    "stacked_mnist": (0.5, 0.2),
}


@pytest.mark.parametrize("name", RELEASED)
def test_presets_of_ms_gan_are_as_released(name):
    for gan in ("ms_dist_gan", "ss_adv_dist_gan"):
        config = composed([f"experiment=ms_dist_gan_{name}", f"gan={gan}"])
        assert config.method == gan
        task = config.terms.multi_class
        assert (task.discriminator_weight, task.generator_weight) == RELEASED[name]
        penalty = config.terms.gradient_penalty
        assert (penalty.discriminator_weight, penalty.norm) == (0.5, "rms")
        assert penalty.maximised == (config.loss.form == "hinge")


PRESETS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*dist_gan_*.yaml"))
SIDES = {"stl10": 48, "celeba64": 64, "stacked_mnist": 28}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_plays(name):
    config = composed([f"experiment={name}", "iterations=1", "batch_size=2", "gan.precision=32"])
    for network in config.network.values():
        network.width = 8
    side = next((side for data, side in SIDES.items() if name.endswith(data)), 32)
    made = build_game(config, spec_of((3, side, side)))
    losses = play(made).last_losses
    assert {"encoder/distance", "discriminator/gradient_penalty"} <= set(losses)


@pytest.mark.parametrize("method", [DistGAN, GNGAN])
def test_it_learns_where_points_lie(method):
    """A Gaussian apart from the origin, around which samples start."""
    adam = partial(torch.optim.Adam, lr=3e-3, betas=(0.5, 0.9))
    optimizers = {f"{player}_optimizer": adam for player in PLAYERS}
    made = game(method, points=True, **optimizers, iterations=250, batch_size=64)
    centre = torch.tensor([0.5, -0.3])

    def reals(iteration):
        generator = torch.Generator().manual_seed(iteration)
        noise = torch.randn(made.batches_per_iteration * 64, 2, generator=generator)
        return Items(image=centre + 0.1 * noise)

    play(made, blocks=Made(made, reals))
    samples = made.sample(made.inputs_at(range(500)))
    assert (samples.mean(0) - centre).norm() < 0.5 * centre.norm()
    assert samples.std(0).norm() > 0.02  # not one point


def test_it_goes_on_from_its_state_bit_for_bit():
    settings = {"ema_half_life_kimg": 0.05, "encoder_trains": "both"}
    straight = play(game(GNGAN, **settings))
    state = copy.deepcopy(play(game(GNGAN, **settings), stop=2).state())
    resumed = game(GNGAN, networks_seed=1, **settings)
    resumed.load_state(state)
    play(resumed)
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
