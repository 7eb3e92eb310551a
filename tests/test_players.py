"""Games of other kinds than the two-player GAN: what the frame carries without code of its own."""

import copy
import dataclasses
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from play import Blocks, changed, play, snapshot
from torch import nn

from saddlepoint.gans import SNGAN
from saddlepoint.gans.critic import Critic
from saddlepoint.gans.game import Game, Player
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.gans.networks.mlp import MLPGenerator
from saddlepoint.gans.networks.patch import PatchDiscriminator
from saddlepoint.gans.tasks import FromLatents
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import Hinge
from saddlepoint.losses.term import Step

SHAPE, N = (3, 16, 16), 8
SMALL = {"iterations": 4, "batch_size": N, "precision": "32", "log_every": 1}
ADAM = partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.9))
STILL = partial(torch.optim.SGD, lr=0.0)


# Two critics ------------------------------------------------------------------------------------


class TwoCritics(Game):
    """One critic sees whole images, the other the crop in their middle."""

    def __init__(self, generator, whole, detail, condition, optimizers=None, **settings):
        networks = {"generator": generator, "whole": whole, "detail": detail}
        task = FromLatents(generator.latent_dim, condition=condition)
        super().__init__(networks, task, **settings)
        self.critics = {
            "whole": Critic(whole, self.autocast),
            "detail": Critic(detail, self.autocast),
        }
        everyone = ("whole", "detail", "generator")
        self.optimizers_of = {name: ADAM for name in everyone} | (optimizers or {})
        self.maps = {}

    def players(self):
        return [
            Player("whole", self.optimizers_of["whole"], judged=1),
            Player("detail", self.optimizers_of["detail"], judged=1),
            Player("generator", self.optimizers_of["generator"], batches=0),
        ]

    def whole_loss(self, step):
        return self.critic_loss("whole", step)

    def detail_loss(self, step):
        return self.critic_loss("detail", step)

    def critic_loss(self, name, step):
        with torch.no_grad():
            step.fake = self.fakes(step.inputs)
        seen = self.look(name, {"real": step.real, "fake": step.fake})
        return {"adversarial": Hinge().discriminator(seen["real"].logits, seen["fake"].logits)}

    def generator_loss(self, step):
        step.fake = self.fakes(step.inputs)
        return {
            name: Hinge().generator(self.look(name, {"fake": step.fake})["fake"].logits)
            for name in self.critics
        }

    def look(self, name, views):
        if name == "detail":
            views = {view: items.but(image=crop(items.image)) for view, items in views.items()}
        seen = self.critics[name].look(views)
        self.maps[name] = seen["fake"].logits
        return seen


def crop(images):
    return images[..., 4:12, 4:12]


def two_critics(**settings):
    torch.manual_seed(0)
    condition = Classes(3)
    network = partial(PatchDiscriminator, condition=condition, width=8)
    return TwoCritics(
        LiteGenerator(shape=SHAPE, condition=condition, latent_dim=8, width=8),
        network(shape=SHAPE, depth=3),
        network(shape=(3, 8, 8), depth=1),
        condition,
        **{**SMALL, **settings},
    )


def test_two_critics_judge_maps_of_the_whole_and_of_a_crop_by_class():
    played = play(two_critics())
    assert played.maps["whole"].shape == (N, 1, 2, 2)
    assert played.maps["detail"].shape == (N, 1, 4, 4)
    assert set(played.last_losses) == {
        *("whole/adversarial", "detail/adversarial", "generator/whole", "generator/detail"),
    }
    assert played.batches_per_iteration == 2
    assert played.images_shown == 4 * 2 * N  # each critic was shown a batch
    asked = played.inputs_at(range(5))
    assert set(asked.condition.tolist()) <= {0, 1, 2}
    assert played.sample(asked).shape == (5, *SHAPE)


@pytest.mark.parametrize("mover", ["whole", "detail", "generator"])
def test_each_of_three_players_changes_its_own_network(mover):
    others = {name: STILL for name in ("whole", "detail", "generator") if name != mover}
    made = two_critics(optimizers=others)
    before = snapshot(made)
    play(made, stop=1)
    moved = changed(before, made)
    assert moved and all(name.startswith(f"{mover}.") for name in moved)


def test_the_local_critics_losses_are_those_written_out():
    made = two_critics()
    generator = torch.Generator().manual_seed(0)
    real = Items(image=torch.rand(N, *SHAPE, generator=generator), condition=torch.arange(N) % 3)
    inputs = Items(latents=torch.randn(N, 8, generator=generator), condition=real.condition.flip(0))
    reference = copy.deepcopy(made)
    loss = made.detail_loss(Step(0, 1, None, inputs, [real]))["adversarial"]
    fake = reference.generator(inputs.latents, inputs.condition)
    logits = reference.detail(
        torch.cat([crop(real.image), crop(fake)]), torch.cat([real.condition, inputs.condition])
    ).logits
    expected = F.relu(1 - logits[:N]).mean() + F.relu(1 + logits[N:]).mean()
    torch.testing.assert_close(loss, expected)


# Players that rest, and players with more than one batch ----------------------------------------


class Watching(Game):
    """Players that note what they see, and move their own weight by it."""

    def __init__(self, *players, **settings):
        names = {player.name for player in players}
        networks = {name: nn.Linear(1, 1, bias=False) for name in names}
        networks["generator"] = MLPGenerator(shape=(2,), width=8)
        super().__init__(networks, FromLatents(2), **{**SMALL, **settings})
        self.who = list(players)
        self.seen = []
        for name in names - {"generator"}:
            setattr(self, f"{name}_loss", partial(self.loss_of, name))

    def players(self):
        return self.who

    def loss_of(self, name, step):
        self.seen.append((step.iteration, name, step))
        return {"pull": getattr(self, name).weight.sum() * sum(r.image.mean() for r in step.reals)}

    def reals_of(self, name):
        return [(i, [real.image for real in step.reals]) for i, n, step in self.seen if n == name]


def test_a_player_that_rests_lets_its_reals_pass_unseen():
    resting = Player("slow", ADAM, updates=2, judged=1, every=2)
    always = Player("fast", ADAM, judged=1)
    made = Watching(resting, always)
    assert made.batches_per_iteration == 3
    block = next(iter(Blocks(made)))["reals"].image.split(N)
    weights = []
    for stop in range(1, 5):
        fresh = Watching(resting, always)
        fresh.load_state_dict(made.state_dict())
        play(fresh, stop=stop)
        weights.append((fresh.slow.weight.item(), fresh.fast.weight.item()))
    play(made)
    # The fast one gets the batch it would get anyway.
    fast = made.reals_of("fast")
    assert [i for i, _ in fast] == [0, 1, 2, 3]
    assert all(torch.equal(reals[0], block[2]) for _, reals in fast)
    slow = made.reals_of("slow")
    assert [i for i, _ in slow] == [0, 0, 2, 2]
    for (_, reals), expected in zip(slow, block[:2] * 2, strict=True):
        assert torch.equal(reals[0], expected)
    # Judged are 2 + 1 batches in even iterations, one in odd ones.
    assert made.images_shown == (3 + 1 + 3 + 1) * N
    assert made.kimg == made.images_shown / 1000
    # It stands still in iterations 1 and 3, numbers from 0.
    slows, fasts = zip(*weights, strict=True)
    assert slows[0] == slows[1] != slows[2] == slows[3]
    assert len(set(fasts)) == 4


def test_the_moving_average_keeps_still_where_nothing_is_shown():
    """Time, for the average, is counted in images that critics were shown."""
    shown, averages = [], []

    class Averaged(Watching):
        def generator_loss(self, step):
            return {"size": self.generate(step.inputs).square().mean()}

        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            shown.append(self.images_shown)
            averages.append(self.sampled().output.weight.clone())

    slow = Player("slow", ADAM, judged=1, every=3)
    moving = Player("generator", ADAM, batches=0)
    play(Averaged(slow, moving, ema_half_life_kimg=0.01))
    assert shown == [N, N, N, 2 * N]
    assert torch.equal(averages[0], averages[1]) and torch.equal(averages[1], averages[2])
    assert not torch.equal(averages[2], averages[3])


def test_one_update_may_see_two_batches_of_reals():
    pairs = Player("pairs", ADAM, updates=2, batches=2, judged=1)
    made = Watching(pairs, Player("none", ADAM, batches=0), Player("one", ADAM))
    assert made.batches_per_iteration == 5
    block = next(iter(Blocks(made)))["reals"].image.split(N)
    play(made, stop=1)
    first, second = (reals for _, reals in made.reals_of("pairs"))
    for reals, expected in ((first, block[:2]), (second, block[2:4])):
        assert len(reals) == 2
        assert all(torch.equal(a, b) for a, b in zip(reals, expected, strict=True))
    assert made.reals_of("none") == [(0, [])]
    ((_, last),) = made.reals_of("one")
    assert torch.equal(last[0], block[4])
    assert made.images_shown == 2 * N  # two updates, of whose two batches one is judged
    with pytest.raises(RuntimeError, match="asks for no batches"):
        _ = next(step for _, name, step in made.seen if name == "none").real


def test_every_update_has_draws_of_its_own():
    made = play(Watching(Player("a", ADAM, updates=2), Player("b", ADAM)))
    latents = [step.inputs.latents for *_, step in made.seen]
    assert len(latents) == 12
    assert not any(torch.equal(x, y) for i, x in enumerate(latents) for y in latents[:i])


# An update of another kind ----------------------------------------------------------------------


class Reptile(SNGAN):
    """Each player makes some steps of plain descent aside, then moves towards where they led.

    A. Nichol, J. Achiam, J. Schulman, "On First-Order Meta-Learning Algorithms", arXiv 1803.02999.
    """

    inner_steps, inner_rate = 3, 0.05

    def players(self):
        discriminator, generator = super().players()
        discriminator = dataclasses.replace(discriminator, batches=self.inner_steps)
        return [discriminator, generator]

    def update(self, player, step):
        networks = [getattr(self, name) for name in player.networks or (player.name,)]
        parameters = [p for network in networks for p in network.parameters()]
        start = [p.detach().clone() for p in parameters]
        inner = torch.optim.SGD(parameters, self.inner_rate)
        for i in range(self.inner_steps):
            own = dataclasses.replace(step, reals=step.reals[i : i + 1])
            losses = getattr(self, f"{player.name}_loss")(own)
            inner.zero_grad(set_to_none=True)
            sum(losses.values()).backward()
            inner.step()
        led_to = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for parameter, value in zip(parameters, start, strict=True):
                parameter.copy_(value)
        # Its gradient is the way back from where they led.
        pairs = zip(parameters, led_to, strict=True)
        self.descend(player, {"way": 0.5 * sum((p - q).square().sum() for p, q in pairs)})


def reptile(seed=0, **settings):
    torch.manual_seed(seed)
    networks = (
        LiteGenerator(shape=SHAPE, latent_dim=8, width=8),
        LiteDiscriminator(shape=SHAPE, width=8),
    )
    return Reptile(*networks, n_dis=1, **{**SMALL, **settings})


def test_an_update_of_another_kind_trains():
    made = reptile()
    assert made.batches_per_iteration == 3
    before = snapshot(made)
    play(made)
    moved = changed(before, made)
    assert any(name.startswith("generator.") for name in moved)
    assert any(name.startswith("discriminator.") for name in moved)
    assert set(made.last_losses) == {"discriminator/way", "generator/way"}
    assert all(value > 0 for value in made.last_losses.values())


def test_one_inner_step_of_plain_descent_is_plain_descent():
    """Towards one inner step, by the rate 1, is that step."""
    one = {"iterations": 1, "lr_schedule": "constant"}
    whole = partial(torch.optim.SGD, lr=1.0)
    plain = partial(torch.optim.SGD, lr=Reptile.inner_rate)
    optimizers = {"discriminator_optimizer": whole, "generator_optimizer": whole}
    made = reptile(**one, **optimizers)
    made.inner_steps = 1
    usual = SNGAN(
        *copy.deepcopy((made.generator, made.discriminator)),
        **{**SMALL, **one, "n_dis": 1, "discriminator_optimizer": plain},
        generator_optimizer=plain,
    )
    play(made), play(usual)
    for name, tensor in usual.state_dict().items():
        torch.testing.assert_close(made.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


def test_an_update_of_another_kind_resumes_bit_for_bit():
    straight = play(reptile())
    state = copy.deepcopy(play(reptile(), stop=2).state())
    resumed = reptile(seed=1)
    resumed.load_state(state)
    play(resumed)
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
