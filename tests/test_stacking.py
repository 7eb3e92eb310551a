"""Terms that stack: every one registered, alone and together, as the command line does it."""

import math
from functools import cache, partial

import pytest
import torch
from play import changed, play, snapshot, spec_of
from train_cli import ROOT, composed

from saddlepoint.gans import GAN
from saddlepoint.gans.networks.lite import LiteDiscriminator
from saddlepoint.items import Items
from saddlepoint.losses.gradient_penalty import GradientPenalty
from saddlepoint.losses.term import Step
from saddlepoint.randomness import Draws
from saddlepoint.runs.build import build_game

pytestmark = pytest.mark.numerical

SHAPE, CLASSES = (3, 16, 16), 3
#: Choices of terms=[...]; each fills one key of the settings.
CHOICES = sorted(path.stem for path in (ROOT / "conf" / "terms").glob("*.yaml"))
CHOICES.remove("latent_consistency")  # needs conditions of a representation
SETTINGS = [
    *("gan=sngan", "network=lite", "trainer=cpu", "iterations=2", "batch_size=8", "gan.n_dis=2"),
    *("network.generator.width=8", "network.discriminator.width=8", "gan.log_every=1"),
    *("network.generator.latent_dim=8", "gan.precision=32"),
]
PLAYERS = ("discriminator", "generator")


@cache
def settings(choices, *overrides):
    """Composed settings of ``gan=sngan 'terms=[...]'``, with small networks."""
    return composed([*SETTINGS, f"terms=[{','.join(choices)}]", *overrides])


def stack(*choices, overrides=()) -> GAN:
    return build_game(settings(choices, *overrides), spec_of(SHAPE, CLASSES))


#: The key of each choice, and the stacks to test: the issue's, and all that go together.
KEYS = {choice: next(iter(settings((choice,)).terms)) for choice in CHOICES}
ALL = tuple({KEYS[choice]: choice for choice in CHOICES}.values())
ALL_BUT_PENALTIES = tuple(
    choice for choice in ALL if not isinstance(stack(choice).terms[KEYS[choice]], GradientPenalty)
)
STACKS = [("rotation", "infomax", "dag"), ALL_BUT_PENALTIES, ALL]


def named(chosen):
    return "+".join(chosen)


class SameDraws(Draws):
    """Numbers that depend on the key alone, whatever was drawn before."""

    def __init__(self, *key):
        super().__init__(*key)
        self.key = key

    def normal(self, n, *shape):
        return Draws(*self.key).normal(n, *shape)

    def uniform(self, n, *shape):
        return Draws(*self.key).uniform(n, *shape)

    def integers(self, n, high):
        return Draws(*self.key).integers(n, high)


def losses_of(game, player):
    """The losses of one update, from the same numbers for every game."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(8, *SHAPE, generator=generator) * 2 - 1
    labels = torch.randint(CLASSES, (8,), generator=generator)
    latents = torch.randn(8, 8, generator=generator)
    real, inputs = Items(image=images, label=labels), Items(latents=latents)
    if game.condition is not None:
        real, inputs = real.but(condition=labels), inputs.but(condition=labels.flip(0))
    sees_reals = next(p.batches for p in game.players() if p.name == player)
    step = Step(0, 2, SameDraws(0, player), inputs, [real] * sees_reals)
    # In eval mode spectral norms stand still, so that a game can be asked twice.
    return getattr(game.eval(), f"{player}_loss")(step)


@pytest.mark.parametrize("overrides", [(), ("condition=classes",)], ids=["plain", "classes"])
@pytest.mark.parametrize("chosen", STACKS, ids=named)
def test_a_stacked_loss_is_the_sum_of_its_parts(chosen, overrides):
    together, base = stack(*chosen, overrides=overrides), stack(overrides=overrides)
    assert list(together.terms) == [KEYS[choice] for choice in chosen]
    losses = {player: losses_of(together, player) for player in PLAYERS}
    for player in PLAYERS:
        expected = losses_of(base, player)["adversarial"]
        torch.testing.assert_close(losses[player]["adversarial"], expected, rtol=1e-4, atol=1e-6)
    for choice in chosen:
        if choice == "dag" and chosen == ALL:
            continue  # its games have the penalties, too: see test_dag.py
        key, alone = KEYS[choice], stack(choice, overrides=overrides)
        alone.terms[key].load_state_dict(together.terms[key].state_dict())
        for player in PLAYERS:
            expected = losses_of(alone, player)
            assert (key in losses[player]) == (key in expected)
            if key in expected:
                assert expected[key].abs() > 0
                torch.testing.assert_close(
                    losses[player][key], expected[key], rtol=1e-4, atol=1e-6, msg=key
                )


@pytest.mark.parametrize("chosen", STACKS, ids=named)
def test_weights_zero_are_exactly_the_base_run(chosen):
    base, without = stack(), stack(*chosen)
    for term in without.terms.values():
        term.discriminator_weight = term.generator_weight = 0.0
    play(base), play(without)
    for name, tensor in base.state_dict().items():
        assert torch.equal(tensor, without.state_dict()[name]), name


@pytest.mark.parametrize("chosen", STACKS, ids=named)
def test_each_head_gets_gradient_from_its_own_term_alone(chosen):
    game = stack(*chosen)
    heads = {name: list(term.parameters()) for name, term in game.terms.items()}
    for player in PLAYERS:
        for name, loss in losses_of(game, player).items():
            for owner, parameters in heads.items():
                if not parameters:
                    continue
                found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
                reached = any(g is not None and g.abs().sum() > 0 for g in found)
                assert reached == (owner == name), (player, name, owner)


@pytest.mark.parametrize("chosen", STACKS, ids=named)
def test_heads_learn_in_the_discriminators_updates_alone(chosen):
    for player in PLAYERS:
        game = stack(*chosen)
        other = "generator" if player == "discriminator" else "discriminator"
        setattr(game, f"{other}_optimizer", partial(torch.optim.SGD, lr=0.0))
        before = snapshot(game.terms)
        play(game, stop=1)
        moved = changed(before, game.terms)
        if player == "generator":
            assert not moved
        else:  # weights: the bias of a head under a hinge need not move
            weights = {n for n, _ in game.terms.named_parameters() if "weight" in n}
            assert moved >= weights


#: Batches of images that the discriminator looks at in one update of each player.
LOOKS = {
    (): (2, 1),
    ("rotation",): (3, 2),
    ("infomax",): (2, 1),
    ("dag",): (8, 4),
    ("rotation", "infomax"): (3, 2),
    ("rotation", "dag"): (9, 5),
    ("infomax", "dag"): (8, 4),
    ("rotation", "infomax", "dag"): (9, 5),
    ("multi_class",): (4, 2),
    ("rotation", "multi_class"): (4, 2),
    ("multi_class", "infomax", "dag"): (10, 5),
    ("multi_class_match",): (3, 3),
}


@pytest.mark.parametrize("chosen", LOOKS, ids=lambda chosen: named(chosen) or "sngan")
def test_the_discriminator_looks_once_at_each_view(chosen, monkeypatch):
    calls, features = [], LiteDiscriminator.features
    monkeypatch.setattr(
        LiteDiscriminator,
        "features",
        lambda self, images: (calls.append(len(images)), features(self, images))[1],
    )
    in_discriminator, in_generator = LOOKS[chosen]
    # One call in each of the 2 + 1 updates of an iteration, of all batches of 8 images together.
    play(stack(*chosen), stop=1)
    assert calls == [8 * in_discriminator, 8 * in_discriminator, 8 * in_generator]
    calls.clear()
    play(stack(*chosen, overrides=("gan.joint_views=false",)), stop=1)
    assert calls == [8] * (2 * in_discriminator + in_generator)


def test_all_terms_together_train():
    played = play(stack(*ALL))
    assert all(math.isfinite(value) for value in played.last_losses.values())
    assert {name.split("/")[1] for name in played.last_losses} == {"adversarial", *played.terms}
