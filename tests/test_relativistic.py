"""The relativistic loss: closed forms, and the game in which both players see reals."""

import copy
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from play import Blocks, play, spec_of
from train_cli import composed

from saddlepoint.gans import SNGAN
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import Hinge, RelativisticPairing
from saddlepoint.losses.dag import DAG
from saddlepoint.losses.term import Step
from saddlepoint.losses.transformations import POLICIES
from saddlepoint.randomness import Draws
from saddlepoint.runs.build import build_game

SHAPE = (3, 16, 16)
SMALL = {"iterations": 2, "batch_size": 8, "n_dis": 2, "precision": "32", "log_every": 1}
LOSS = RelativisticPairing()


def game(condition=None, spectral_norm=True, **settings):
    torch.manual_seed(0)
    networks = (
        LiteGenerator(shape=SHAPE, width=8, latent_dim=8, condition=condition),
        LiteDiscriminator(shape=SHAPE, width=8, condition=condition, spectral_norm=spectral_norm),
    )
    return SNGAN(*networks, condition=condition, adversarial=LOSS, **{**SMALL, **settings})


# The loss ---------------------------------------------------------------------------------------


def test_equal_logits_cost_both_players_log_2():
    logits = torch.randn(8, 1)
    assert LOSS.discriminator(logits, logits).item() == pytest.approx(math.log(2))
    assert LOSS.generator(logits, logits).item() == pytest.approx(math.log(2))


def test_values_by_hand():
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [-3.0]])
    expected = (math.log1p(math.exp(-1.5)) + math.log1p(math.exp(-2.0))) / 2
    assert LOSS.discriminator(real, fake).item() == pytest.approx(expected)
    expected = (math.log1p(math.exp(1.5)) + math.log1p(math.exp(2.0))) / 2
    assert LOSS.generator(fake, real).item() == pytest.approx(expected)


def test_a_constant_added_to_all_logits_changes_nothing():
    real, fake = torch.randn(2, 16, 1)
    for c in (-50.0, 3.0):
        for a, b in (
            (LOSS.discriminator(real + c, fake + c), LOSS.discriminator(real, fake)),
            (LOSS.generator(fake + c, real + c), LOSS.generator(fake, real)),
        ):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_each_player_wants_its_own_side_to_look_more_real():
    real, fake = (torch.randn(16, 1, requires_grad=True) for _ in range(2))
    on_real, on_fake = torch.autograd.grad(LOSS.discriminator(real, fake), (real, fake))
    assert (on_real < 0).all() and (on_fake > 0).all()
    torch.testing.assert_close(on_real, -on_fake)
    on_real, on_fake = torch.autograd.grad(LOSS.generator(fake, real), (real, fake))
    assert (on_fake < 0).all() and (on_real > 0).all()


def test_the_players_swap_sides():
    real, fake = torch.randn(2, 16, 1)
    assert torch.equal(LOSS.generator(fake, real), LOSS.discriminator(fake, real))
    # softplus(t) - softplus(-t) = t: zero-sum up to the mean difference.
    gap = LOSS.generator(fake, real) - LOSS.discriminator(real, fake)
    torch.testing.assert_close(gap, (real - fake).mean(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("magnitude", [1.0, 1e4])
def test_finite_and_float32_whatever_the_logits(magnitude):
    logits = (torch.tensor([[-1.0], [1.0]]) * magnitude).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        other = logits.flip(0)
        total = LOSS.discriminator(logits, other) + LOSS.generator(logits, other)
    total.backward()
    assert total.dtype == torch.float32 and total.isfinite() and logits.grad.isfinite().all()


def test_the_generator_needs_the_logits_of_reals():
    with pytest.raises(ValueError, match="needs the logits of reals"):
        LOSS.generator(torch.zeros(2, 1))


# The game ---------------------------------------------------------------------------------------


def test_both_players_see_reals_of_their_own():
    seen = []

    class Watcher(SNGAN):
        def update(self, player, step):
            super().update(player, step)
            seen.append((player.name, [real.image for real in step.reals], set(step.views)))

    torch.manual_seed(0)
    networks = (
        LiteGenerator(shape=SHAPE, width=8, latent_dim=8),
        LiteDiscriminator(shape=SHAPE, width=8),
    )
    played = Watcher(*networks, adversarial=LOSS, **SMALL)
    block = next(iter(Blocks(played)))["reals"].image.split(8)
    assert played.batches_per_iteration == len(block) == 3
    play(played, stop=1)
    assert [name for name, *_ in seen] == ["discriminator", "discriminator", "generator"]
    for (_, reals, views), expected in zip(seen, block, strict=True):
        assert len(reals) == 1 and torch.equal(reals[0], expected)
        assert views == {"real", "fake"}
    assert played.images_shown == 2 * 8  # those that the discriminator learned from


def test_one_iteration_equals_the_loop_written_out():
    for joint_views in (False, True):
        sgd = partial(torch.optim.SGD, lr=0.1)
        optimizers = {"discriminator_optimizer": sgd, "generator_optimizer": sgd}
        # Passes of the loop below make a power iteration each.
        played = {"iterations": 1, "n_dis": 1, "power_iterations": "per_pass"}
        ours = game(joint_views=joint_views, **played, **optimizers)
        generator, discriminator = copy.deepcopy((ours.generator, ours.discriminator))
        reals = next(iter(Blocks(ours)))["reals"].image.split(8)
        draws = [
            Draws(ours.seed, "update", 0, player, 0).normal(8, 8)
            for player in ("discriminator", "generator")
        ]
        play(ours)

        def logits(first, second, joint=joint_views, judge=discriminator):
            if joint:
                return judge(torch.cat([first, second])).logits.split(8)
            return judge(first).logits, judge(second).logits

        d_optimizer, g_optimizer = sgd(discriminator.parameters()), sgd(generator.parameters())
        real, fake = logits(reals[0], generator(draws[0]).detach())
        F.softplus(fake - real).mean().backward()
        d_optimizer.step()
        g_optimizer.zero_grad()
        fake, real = logits(generator(draws[1]), reals[1])
        F.softplus(real - fake).mean().backward()
        g_optimizer.step()

        for theirs, mine in ((generator, ours.generator), (discriminator, ours.discriminator)):
            for (name, a), b in zip(
                theirs.state_dict().items(), mine.state_dict().values(), strict=True
            ):
                assert torch.allclose(a, b, atol=1e-6), (joint_views, name)


@pytest.mark.parametrize("terms", ["", "dag", "r1,r2", "dag,r1,r2", "rotation,dag,r1,r2"])
def test_it_composes_on_sngan_and_stacks(terms):
    small = [f"network.{name}.width=8" for name in ("generator", "discriminator")]
    words = ["gan=sngan", "loss=relativistic", "network=lite", f"terms=[{terms}]", *small]
    config = composed([*words, "iterations=2", "batch_size=4", "gan.precision='32'"])
    played = play(build_game(config, spec_of(SHAPE)))
    assert played.adversarial == LOSS and played.batches_per_iteration == 6
    assert all(math.isfinite(value) for value in played.last_losses.values())
    names = {name.split("/")[1] for name in played.last_losses}
    assert names == {"adversarial", *(term for term in terms.split(",") if term)}
    if terms == "rotation,dag,r1,r2":
        base = build_game(composed([*words, "loss=hinge"]), spec_of(SHAPE))
        assert base.adversarial == Hinge() and base.batches_per_iteration == 5


@pytest.mark.parametrize("condition", [None, Classes(3)], ids=["plain", "classes"])
@pytest.mark.parametrize("joint_views", [True, False])
def test_dag_compares_reals_and_fakes_under_the_same_transformation(condition, joint_views):
    policies, weights = ["rotation", "cropping"], [1.0, 0.5]
    dag = DAG(0.3, 0.7, policies=policies, policy_weights=weights)
    options = {"spectral_norm": False, "terms": {"dag": dag}, "joint_views": joint_views}
    made = game(condition, **options)
    judge = made.discriminator

    def a_step():
        generator = torch.Generator().manual_seed(1)
        real = Items(image=torch.rand(6, *SHAPE, generator=generator) * 2 - 1)
        inputs = Items(latents=torch.randn(6, 8, generator=generator))
        if condition is not None:
            asked = torch.arange(6) % 3
            real, inputs = real.but(condition=asked), inputs.but(condition=asked.flip(0))
        return Step(0, 1, Draws(0), inputs, [real])

    def expected(step, player):
        heads, total = iter(dag.heads), 0.0
        for policy, weight in zip(policies, weights, strict=True):
            for transformation in POLICIES[policy]:
                head = next(heads)
                real, fake = (
                    judge.logits(
                        judge.features(transformation(side.image, None))[1],
                        side.get("condition"),
                        head,
                    )
                    for side in (step.real, step.fake)
                )
                gap = fake - real if player == "discriminator" else real - fake
                total = total + weight / len(POLICIES[policy]) * F.softplus(gap).mean()
        return total

    for player, weight in (("discriminator", 0.3), ("generator", 0.7)):
        step = a_step()
        losses = getattr(made, f"{player}_loss")(step)
        torch.testing.assert_close(losses["dag"], weight * expected(step, player))
        assert {"real", "fake", "real rotated by 90", "fake rotated by 90"} <= set(step.views)
