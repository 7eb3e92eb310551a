"""MS-GAN and SS-Adv-GAN as games: who learns from what, stacking, resuming."""

import copy
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from multi_class_steps import SHAPE, SMALL, N, a_step, game, networks
from play import changed, play, snapshot, spec_of

from saddlepoint.errors import UserError
from saddlepoint.gans import CGANPD, MSGAN, SNGAN, WGANGP, SSAdvGAN
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.losses.adversarial import Hinge
from saddlepoint.losses.multi_class import MultiClassMatch, MultiClassMinimax
from saddlepoint.runs.build import build_game

CONF = str(Path(__file__).parent.parent / "conf")


def assert_equal_states(a, b):
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


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
    assert without.batches_per_iteration == base.batches_per_iteration
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
    assert helped.players()[1].batches == 0
    assert_equal_states(play(SNGAN(*pair, **SMALL, **still)).generator, play(helped).generator)


def test_the_generator_gets_reals_where_it_matches_them():
    sees = {
        "match": MultiClassMatch(),
        "confuse": MultiClassMatch(generator_task="confuse"),
        "minimax": MultiClassMinimax(),
    }
    for task, term in sees.items():
        played = game(SNGAN, terms={"multi_class": term})
        assert played.players()[1].batches == (task == "match")
        assert played.batches_per_iteration == 2 + (task == "match")


def test_ss_adv_gan_and_released_ms_gan_share_one_term():
    with initialize_config_dir(CONF, version_base="1.3"):
        small = ["network=lite", "network.generator.width=8", "network.discriminator.width=8"]
        small += ["iterations=1", "batch_size=8"]
        games = [
            build_game(compose("train", [*overrides, *small]), spec_of((3, 16, 16)))
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
    step.views = term.discriminator_views(step)
    step.seen = {name: played.discriminator(view.image) for name, view in step.views.items()}
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
    asked = {"condition": Classes(3)}
    terms = {"multi_class": term()}
    conditional = play(CGANPD(*networks(**asked), terms=terms, **asked, **SMALL))
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
    with pytest.raises(UserError, match="generator_task=fool .* give match or confuse "):
        MultiClassMatch(generator_task="fool")
    for term in (MultiClassMatch(), MultiClassMinimax()):
        with pytest.raises(UserError, match="square"):
            term.discriminator_views(a_step(torch.rand(4, 3, 2, 3), torch.rand(4, 3, 2, 3)))
