"""Terms: whom their parts concern, in which iterations they count, and by how much."""

import copy

import pytest
import torch
from play import play
from torch import nn

from saddlepoint.errors import UserError
from saddlepoint.gans import GAN, SNGAN
from saddlepoint.gans.critic import Critic
from saddlepoint.gans.game import Game, Player
from saddlepoint.gans.gan import ADAM
from saddlepoint.gans.networks.mlp import MLPDiscriminator, MLPGenerator
from saddlepoint.gans.tasks import FromLatents
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import Hinge
from saddlepoint.losses.gradient_penalty import R1
from saddlepoint.losses.schedule import Piecewise
from saddlepoint.losses.term import Step, Term, Terms
from saddlepoint.randomness import Draws
from saddlepoint.runs import checkpoint_file

SMALL = {"iterations": 4, "batch_size": 8, "precision": "32", "log_every": 1}


def networks():
    torch.manual_seed(0)
    return MLPGenerator(shape=(2,), width=8), MLPDiscriminator(shape=(2,), width=8)


def gan(**settings):
    return SNGAN(*networks(), n_dis=1, **{**SMALL, **settings})


class Duel(Game):
    """A game of two whose players have other names."""

    sampled_networks = ("artist",)

    def __init__(self, artist, judge, terms, **settings):
        pair = {"artist": artist, "judge": judge}
        super().__init__(pair, FromLatents(artist.latent_dim), **settings)
        self.generator = artist
        self.critic = Critic(judge, self.autocast)
        self.terms = Terms(terms, judge)
        self.terms.refuse_unheard(("judge", "artist"))

    def players(self):
        reals = int(self.terms.see_reals("artist"))
        return [
            Player("judge", ADAM, networks=("judge", "terms"), judged=1),
            Player("artist", ADAM, batches=reals),
        ]

    def judge_loss(self, step):
        with torch.no_grad():
            step.fake = self.fakes(step.inputs)
        self.look("judge", step, {"real": step.real, "fake": step.fake})
        loss = Hinge().discriminator(step.seen["real"].logits, step.seen["fake"].logits)
        return {"adversarial": loss, **self.terms.losses("judge", step)}

    def artist_loss(self, step):
        step.fake = self.fakes(step.inputs)
        self.look("artist", step, {"fake": step.fake})
        loss = Hinge().generator(step.seen["fake"].logits)
        return {"adversarial": loss, **self.terms.losses("artist", step)}

    def look(self, player, step, views):
        step.adversarial, step.logit = Hinge(), self.critic.logit
        step.views = views | self.terms.views(player, step)
        step.seen = self.critic.look(step.views)


class Artful(Term):
    """A term with parts for the players of `Duel`, views of its own, and a head."""

    def __init__(self, judge_weight=0.0, artist_weight=0.0, every=1):
        super().__init__(every=every)
        self.judge_weight, self.artist_weight = judge_weight, artist_weight
        self.artist_sees_reals = True

    def attach(self, discriminator):
        self.head = discriminator.new_head(1)

    def judge_views(self, step):
        return {"mirrored": step.real.but(image=-step.real.image)}

    def judge_loss(self, step):
        return self.head(step.seen["mirrored"].pooled).square().mean()

    def artist_loss(self, step):
        return (step.fake.image.mean(0) - step.real.image.mean(0)).square().sum()


class Count(Term):
    """Notes the iterations in which it is asked for its views and its loss."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.viewed, self.asked = [], []

    def discriminator_views(self, step):
        self.viewed.append(step.iteration)
        return {"mirrored": step.real.but(image=-step.real.image)}

    def discriminator_loss(self, step):
        self.asked.append(step.iteration)
        return step.seen["mirrored"].logits.square().mean()


def a_step(iteration=0):
    generator = torch.Generator().manual_seed(iteration)
    real = Items(image=torch.randn(8, 2, generator=generator))
    latents = torch.randn(8, 2, generator=generator)
    return Step(iteration, 4, Draws(0, iteration), Items(latents=latents), [real])


def assert_equal_networks(a, b):
    for name in ("generator", "discriminator"):
        states = getattr(a, name).state_dict(), getattr(b, name).state_dict()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0]), name


# Whom they concern ------------------------------------------------------------------------------


def test_parts_are_found_by_the_name_of_the_player():
    game = Duel(*networks(), {"artful": Artful(0.5, 0.25)}, **SMALL)
    assert [player.batches for player in game.players()] == [1, 1]
    step = a_step()
    losses = game.judge_loss(step)
    assert set(step.views) == {"real", "fake", "mirrored"}
    mirrored = game.judge(-step.real.image).pooled
    expected = 0.5 * game.terms["artful"].head(mirrored).square().mean()
    torch.testing.assert_close(losses["artful"], expected)
    step = a_step()
    losses = game.artist_loss(step)
    assert set(step.views) == {"fake"}
    difference = game.artist(step.inputs.latents).mean(0) - step.real.image.mean(0)
    torch.testing.assert_close(losses["artful"], 0.25 * difference.square().sum())
    assert set(play(game).last_losses) == {
        f"{player}/{name}" for player in ("judge", "artist") for name in ("adversarial", "artful")
    }


def test_a_part_of_weight_zero_asks_for_no_reals_and_changes_nothing():
    game = Duel(*networks(), {"artful": Artful(0.0, 0.0)}, **SMALL)
    assert [player.batches for player in game.players()] == [1, 0]
    plain = Duel(*networks(), {}, **SMALL)
    play(game), play(plain)
    for name in ("artist", "judge"):
        for a, b in zip(
            getattr(game, name).parameters(), getattr(plain, name).parameters(), strict=True
        ):
            assert torch.equal(a, b)
    assert "judge/artful" not in game.last_losses


def test_terms_that_concern_nobody_are_refused():
    with pytest.raises(UserError, match="artful has no part .* discriminator, generator: leave"):
        gan(terms={"artful": Artful(1.0, 1.0)})
    with pytest.raises(UserError, match="r1 has no part for any of the players judge, artist"):
        Duel(*networks(), {"r1": R1()}, **SMALL)


# When and how much ------------------------------------------------------------------------------


def test_a_lazy_part_counts_in_every_kth_iteration_and_k_times_as_much():
    term = Count(0.3, every=3)
    game = gan(terms={"lazy": term})
    for iteration in range(7):
        step = a_step(iteration)
        losses = game.discriminator_loss(step)
        if iteration % 3:
            assert set(losses) == {"adversarial"} and set(step.views) == {"real", "fake"}
        else:
            by_hand = 3 * 0.3 * game.discriminator(-step.real.image).logits.square().mean()
            torch.testing.assert_close(losses["lazy"], by_hand)
    assert term.asked == term.viewed == [0, 3, 6]


def test_a_lazy_run_is_that_of_a_weight_written_out():
    lazy = play(gan(terms={"part": Count(0.3, every=2)}))
    written_out = play(gan(terms={"part": Count(lambda t: 0.6 if round(4 * t) % 2 == 0 else 0.0)}))
    assert written_out.terms["part"].asked == lazy.terms["part"].asked == [0, 2]
    assert_equal_networks(lazy, written_out)
    always = play(gan(terms={"part": Count(0.3)}))
    assert not torch.equal(always.discriminator.head.weight, lazy.discriminator.head.weight)


def test_lazy_penalties_of_the_game_are_given_to_whoever_replays_it():
    game = gan(terms={"r1": R1(5.0, every=4)})
    step = a_step()
    game.discriminator_loss(step)
    assert step.penalties == [(20.0, game.terms["r1"])]
    step = a_step(1)
    game.discriminator_loss(step)
    assert step.penalties == []


def test_a_weight_may_be_a_schedule():
    term = Count(Piecewise([(0.25, 0.0), (0.75, 1.0)]))
    played = play(gan(terms={"rising": term}))
    assert term.asked == [2, 3]  # t = 0, 1/4, 1/2, 3/4
    losses = [
        gan(terms={"x": Count(w)}).discriminator_loss(a_step(2))["x"]
        for w in (
            Piecewise([(0.25, 0.0), (0.75, 1.0)]),
            0.5,
        )
    ]
    torch.testing.assert_close(*losses)
    assert "discriminator/rising" in played.last_losses


def test_lines_between_points():
    schedule = Piecewise([(0.2, 1.0), (0.4, 3.0), (1.0, 0.0)])
    values = {0.0: 1.0, 0.2: 1.0, 0.3: 2.0, 0.4: 3.0, 0.7: 1.5, 1.0: 0.0}
    for t, value in values.items():
        assert schedule(t) == pytest.approx(value)


def test_a_scheduled_weight_of_the_generators_part_sees_its_reals_from_the_start():
    class Compare(Term):
        generator_sees_reals = True

        def generator_loss(self, step):
            return (step.fake.image.mean() - step.real.image.mean()).square()

    game = gan(terms={"compare": Compare(0.0, Piecewise([(0.5, 0.0), (1.0, 1.0)]))})
    assert game.players()[1].batches == 1
    play(game)
    assert "generator/compare" in game.last_losses


# What they remember -----------------------------------------------------------------------------


class Remember(Term):
    """Its weight grows with the updates it has seen: a number that is no tensor."""

    def __init__(self):
        super().__init__(1.0)
        self.updates = 0
        self.register_buffer("mean", torch.zeros(2))

    def discriminator_loss(self, step):
        self.updates += 1
        self.mean.lerp_(step.real.image.mean(0), 0.5)
        return 0.1 * self.updates * (step.seen["real"].logits.mean() - self.mean.sum()).square()

    def get_extra_state(self):
        return {"updates": self.updates}

    def set_extra_state(self, state):
        self.updates = state["updates"]


def test_what_a_term_remembers_is_saved_and_restored_with_the_game(tmp_path):
    constant = {"lr_schedule": "constant"}
    straight = play(gan(terms={"remember": Remember()}, **constant))
    first = play(gan(terms={"remember": Remember()}, **constant), stop=2)
    rest = {"config": {}, "overrides": [], "data": {}, "seconds": 1.0}
    content = {**rest, "game": copy.deepcopy(first.state())}
    checkpoint_file.save(tmp_path / "last.ckpt", content)
    second = gan(terms={"remember": Remember()}, **constant)
    second.load_state(checkpoint_file.load(tmp_path / "last.ckpt")["game"])
    assert second.terms["remember"].updates == 2
    play(second)
    assert second.terms["remember"].updates == 4
    assert torch.equal(second.terms["remember"].mean, straight.terms["remember"].mean)
    assert_equal_networks(straight, second)


def test_heads_belong_to_the_critics_player():
    class Head(Term):
        def attach(self, discriminator):
            self.head = discriminator.new_head(2)

        def generator_loss(self, step):
            return self.head(step.seen["fake"].pooled).square().mean()

    game = gan(terms={"head": Head(0.0, 1.0)})
    before = copy.deepcopy(game.terms["head"].head.state_dict())
    play(game)
    assert isinstance(game, GAN) and isinstance(game.terms["head"].head, nn.Linear)
    for name, tensor in game.terms["head"].head.state_dict().items():
        assert torch.equal(tensor, before[name])  # the generator's update leaves it alone
