import copy
import math
from functools import partial

import pytest
import torch
from play import Blocks, changed, play, snapshot
from torch import nn

from saddlepoint.errors import UserError
from saddlepoint.gans import DCGAN, GAN, SNGAN, SSGAN, WGANGP
from saddlepoint.gans.loss_log import DivergedError, LossLog
from saddlepoint.gans.moving_average import MovingAverage
from saddlepoint.gans.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.gans.precision import has_fast_bfloat16
from saddlepoint.losses.adversarial import Hinge
from saddlepoint.losses.rotation import Rotation, rotate, rotate_by_quarters, rotation_labels
from saddlepoint.losses.schedule import Piecewise
from saddlepoint.losses.term import Term
from saddlepoint.randomness import Draws, key_to_seed

pytestmark = pytest.mark.numerical

SHAPE = (3, 16, 16)
SMALL = {"iterations": 3, "batch_size": 8, "n_dis": 2, "precision": "32", "log_every": 1}


def game(method=SNGAN, networks_seed=0, **settings):
    torch.manual_seed(networks_seed)
    generator = LiteGenerator(shape=SHAPE, width=8, latent_dim=8)
    discriminator = LiteDiscriminator(shape=SHAPE, width=8)
    return method(generator, discriminator, **{**SMALL, **settings})


def samples(game, positions, seed=None):
    return game.sample(game.inputs_at(positions, seed))


class Recorder(SNGAN):
    """Notes every update, its reals and its latents."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.seen = []

    def discriminator_loss(self, step):
        self.seen.append(("discriminator", step.real.image.clone(), step.inputs.latents.clone()))
        return super().discriminator_loss(step)

    def generator_loss(self, step):
        self.seen.append(("generator", list(step.reals), step.inputs.latents.clone()))
        return super().generator_loss(step)


def test_an_iteration_is_n_dis_discriminator_updates_then_one_of_the_generator():
    played = play(game(Recorder))
    names = [name for name, *_ in played.seen]
    assert names == ["discriminator", "discriminator", "generator"] * 3
    assert played.iteration == 3
    assert played.images_shown == 3 * 2 * 8


def test_every_update_has_fresh_reals_and_latents():
    played = play(game(Recorder), stop=1)
    reals = [real for name, real, _ in played.seen if name == "discriminator"]
    assert not torch.equal(*reals)
    latents = [z for _, _, z in played.seen]
    assert not any(torch.equal(a, b) for i, a in enumerate(latents) for b in latents[i + 1 :])
    assert played.seen[-1][1] == []  # the generator of this game sees no reals


def test_one_iteration_equals_the_loop_written_out():
    """The shared loop against the textbook: two optimisers, two steps, nothing clever."""
    for joint_views in (False, True):
        # Plain gradient descent: Adam would blow rounding up where a gradient is 0 (a bias before
        # batch norm).
        sgd = partial(torch.optim.SGD, lr=0.1)
        optimizers = {"discriminator_optimizer": sgd, "generator_optimizer": sgd}
        if not joint_views:
            optimizers["power_iterations"] = "per_pass"
        ours = game(joint_views=joint_views, iterations=1, n_dis=1, **optimizers)
        generator, discriminator = copy.deepcopy((ours.generator, ours.discriminator))
        block = next(iter(Blocks(ours)))
        draws = [
            Draws(ours.seed, "update", 0, player, 0).normal(8, 8)
            for player in ("discriminator", "generator")
        ]
        play(ours)

        d_optimizer, g_optimizer = sgd(discriminator.parameters()), sgd(generator.parameters())
        generator.train()
        fake = generator(draws[0]).detach()
        if joint_views:  # one call: one power iteration of the spectral norms
            logits = discriminator(torch.cat([block["reals"].image, fake])).logits
            real_logits, fake_logits = logits[:8], logits[8:]
        else:
            real_logits = discriminator(block["reals"].image).logits
            fake_logits = discriminator(fake).logits
        loss = torch.relu(1 - real_logits).mean() + torch.relu(1 + fake_logits).mean()
        loss.backward()
        d_optimizer.step()
        g_optimizer.zero_grad()
        (-discriminator(generator(draws[1])).logits.mean()).backward()
        g_optimizer.step()

        for theirs, mine in ((generator, ours.generator), (discriminator, ours.discriminator)):
            for (name, a), b in zip(
                theirs.state_dict().items(), mine.state_dict().values(), strict=True
            ):
                assert torch.allclose(a, b, atol=1e-6), (joint_views, name)


def test_each_player_changes_its_own_parameters_only():
    for mover in ("discriminator", "generator"):
        frozen = {"discriminator": "generator", "generator": "discriminator"}[mover]
        still = {f"{frozen}_optimizer": partial(torch.optim.SGD, lr=0.0)}
        played = game(SSGAN, **still)
        before = snapshot(played)
        play(played, stop=1)
        moved = changed(before, played)
        own = ("discriminator.", "terms.") if mover == "discriminator" else ("generator.",)
        assert moved
        assert all(name.startswith(own) for name in moved)


def test_gradients_reach_the_moving_player_only():
    class Watcher(SSGAN):
        def optimizer_gradients(self):
            return {name for name, p in self.named_parameters() if p.grad is not None}

    played = game(Watcher, iterations=1, n_dis=1)
    seen = {}

    def spy(name, optimizer):
        step = optimizer.step
        optimizer.step = lambda: (seen.update({name: played.optimizer_gradients()}), step())

    made = played.configure_optimizers

    def configure():
        optimizers = made()
        for name, optimizer in played._optimizers.items():
            spy(name, optimizer)
        return optimizers

    played.configure_optimizers = configure
    play(played)
    assert all(n.startswith(("discriminator.", "terms.")) for n in seen["discriminator"])
    new = seen["generator"] - seen["discriminator"]
    assert new
    assert all(n.startswith("generator.") for n in new)
    assert all(p.requires_grad for p in played.parameters())  # as a fresh module after the end


def test_batch_norm_of_the_generator_sees_the_fakes_of_every_update():
    played, updates = game(iterations=1, n_dis=2), []
    norm = played.generator.norms[0].norm
    norm.register_forward_hook(lambda module, *_: updates.append(module.training))
    before = norm.running_mean.clone()
    play(played)
    assert updates == [True] * 3
    assert not torch.equal(norm.running_mean, before)


def test_learning_rate_falls_linearly_and_reaches_zero_after_the_last_iteration():
    rates = []

    class Watcher(SNGAN):
        def generator_loss(self, step):
            rates.append(self._optimizers["generator"].param_groups[0]["lr"])
            return super().generator_loss(step)

    play(game(Watcher, iterations=4))
    assert rates == pytest.approx([2e-4 * (1 - t / 4) for t in range(4)])
    rates.clear()
    play(game(Watcher, iterations=2, lr_schedule="constant"))
    assert rates == [2e-4, 2e-4]


def test_weight_zero_is_exactly_the_game_without_the_term():
    base = play(game(SNGAN))
    without = play(game(SNGAN, terms={"rotation": Rotation(0.0, 0.0)}))
    for name, parameter in base.named_parameters():
        assert torch.equal(parameter, without.get_parameter(name)), name


def test_ssgan_is_sngan_with_the_rotation_term():
    a, b = play(game(SSGAN)), play(game(SNGAN, terms={"rotation": Rotation()}))
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


def test_joint_and_separate_views_agree_where_no_power_iteration_differs():
    def plain(joint_views):
        torch.manual_seed(0)
        networks = (
            LiteGenerator(shape=SHAPE, width=8, latent_dim=8),
            LiteDiscriminator(shape=SHAPE, width=8, spectral_norm=False),
        )
        sgd = partial(torch.optim.SGD, lr=0.1)
        optimizers = {"discriminator_optimizer": sgd, "generator_optimizer": sgd}
        return play(SSGAN(*networks, joint_views=joint_views, **optimizers, **SMALL))

    a, b = plain(True), plain(False)
    for name, tensor in a.state_dict().items():
        assert torch.allclose(tensor, b.state_dict()[name], atol=1e-5), name


def test_a_discriminator_with_batch_norm_is_called_for_each_view_alone():
    torch.manual_seed(0)
    networks = (
        DCGANGenerator(shape=(3, 32, 32), width=8, latent_dim=8),
        DCGANDiscriminator(shape=(3, 32, 32), width=8),
    )
    assert not DCGAN(*networks, joint_views=True, **SMALL).critic.joint_views


def test_a_method_refuses_terms_that_leave_out_what_defines_it():
    with pytest.raises(UserError, match="terms=\\[rotation\\]"):
        game(SSGAN, terms={})
    with pytest.raises(UserError, match="gradient_penalty"):
        game(WGANGP, terms={"rotation": Rotation()})


def test_terms_get_one_joint_call_of_the_discriminator():
    calls = []

    class Spy(LiteDiscriminator):
        def features(self, images):
            calls.append(len(images))
            return super().features(images)

    torch.manual_seed(0)
    networks = LiteGenerator(shape=SHAPE, width=8, latent_dim=8), Spy(shape=SHAPE, width=8)
    play(SSGAN(*networks, **SMALL), stop=1)
    assert calls == [24, 24, 16]  # real + fake + rotated real, twice; fake + rotated fake


def test_a_diverged_game_stops_in_its_iteration_and_names_the_term():
    class Broken(Term):
        def discriminator_loss(self, step):
            return step.seen["real"].logits.mean() * (math.nan if step.iteration == 1 else 1)

    broken = game(terms={"broken": Broken(1.0)}, iterations=5, log_every=100)
    with pytest.raises(DivergedError, match="discriminator/broken .* iteration 2"):
        play(broken)
    assert broken.iteration == 2


def test_late_reading_still_names_the_right_iteration():
    log = LossLog()
    for iteration in range(5):
        log.add(iteration, "generator", {"x": torch.tensor(math.inf if iteration == 3 else 0.0)})
    with pytest.raises(DivergedError, match="generator/x became inf in iteration 4"):
        log.read()


def test_losses_are_averaged_by_name():
    log = LossLog()
    for value in (1.0, 3.0):
        log.add(0, "generator", {"adversarial": torch.tensor(value)})
    assert log.read() == {"generator/adversarial": 2.0}
    assert log.read() == {}


def test_moving_average_has_its_half_life():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = MovingAverage({"generator": network}, half_life_kimg=0.1, rampup=0.0)
    nn.init.ones_(network.weight)
    average.follow({"generator": network})
    for i in range(10):
        average.update(10, 10 * (i + 1), progress=i / 10)
    assert average.networks["generator"].weight.item() == pytest.approx(0.5)


def test_moving_average_follows_several_networks_and_a_schedule_of_the_half_life():
    networks = {name: nn.Linear(1, 1, bias=False) for name in ("encoder", "generator")}
    for network in networks.values():
        nn.init.zeros_(network.weight)
    average = MovingAverage(networks, half_life_kimg=Piecewise([(0, 0.1), (1, 0.2)]), rampup=0.0)
    for network in networks.values():
        nn.init.ones_(network.weight)
    assert average.decay(100, 100, progress=0.0) == pytest.approx(0.5)
    assert average.decay(100, 100, progress=1.0) == pytest.approx(0.5**0.5)
    average.follow(networks)
    average.update(100, 100, progress=1.0)
    for copied in average.networks.values():
        assert copied.weight.item() == pytest.approx(1 - 0.5**0.5)
    assert not any(copied.training for copied in average.train().networks.values())


def test_moving_average_forgets_the_start_and_copies_buffers():
    network = nn.BatchNorm1d(2)
    average = MovingAverage({"generator": network}, half_life_kimg=1000, rampup=0.05)
    network.running_mean.fill_(3.0)
    nn.init.constant_(network.weight, 5.0)
    average.follow({"generator": network})
    average.update(64, 64, progress=0.5)
    averaged = average.networks["generator"]
    assert torch.equal(averaged.running_mean, network.running_mean)
    network.running_mean = torch.full((2,), 4.0)  # another tensor in its place
    average.update(64, 128, progress=0.5)
    assert torch.equal(averaged.running_mean, network.running_mean)
    # The half-life is 5 % of 64 images: after 64, twenty half-lives have passed.
    assert averaged.weight[0].item() == pytest.approx(5.0, rel=1e-4)


def test_samples_depend_on_position_not_on_the_batch_around_them():
    played = play(game(ema_half_life_kimg=0.01))
    whole, part = samples(played, range(600)), range(230, 280)
    # A batch of another size may sum each layer's hundred products in another order.
    assert torch.allclose(samples(played, part), whole[230:280], atol=1e-5)
    assert not torch.allclose(samples(played, part, seed=1), whole[230:280])
    assert whole.abs().max() <= 1


def test_sampling_leaves_the_training_untouched():
    quiet, watched = play(game()), game()

    class Sampler(__import__("pytorch_lightning").Callback):
        def on_train_batch_end(self, trainer, module, *_):
            samples(module, range(10))
            torch.rand(3)

    play(watched, callbacks=[Sampler()])
    for name, tensor in quiet.state_dict().items():
        assert torch.equal(tensor, watched.state_dict()[name]), name
    assert watched.generator.training


def test_a_game_goes_on_from_its_state_bit_for_bit():
    settings = {"ema_half_life_kimg": 0.05, "iterations": 6}
    straight = play(game(SSGAN, **settings))
    first = play(game(SSGAN, **settings), stop=2)
    state = copy.deepcopy(first.state())
    second = game(SSGAN, networks_seed=1, **settings)
    second.load_state(state)
    play(second)
    assert (second.iteration, second.images_shown) == (straight.iteration, straight.images_shown)
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    for player, optimizer in straight._optimizers.items():
        states = optimizer.state_dict()["state"], second._optimizers[player].state_dict()["state"]
        for a, b in zip(*(s.values() for s in states), strict=True):
            assert all(torch.equal(a[key], b[key]) for key in a)
    assert torch.equal(samples(straight, range(4)), samples(second, range(4)))


def test_ranks_share_the_draws_of_one_process():
    whole = Draws(0, "update", 3).normal(8, 5)
    parts = [Draws(0, "update", 3, rank=r, world_size=2).normal(4, 5) for r in range(2)]
    assert torch.equal(whole, torch.cat(parts))


def test_keys_do_not_collide():
    keys = {key_to_seed(0, "a", i) for i in range(1000)} | {key_to_seed(1, "a", 0)}
    assert len(keys) == 1001


def test_rotation_is_exact():
    images = torch.rand(4, 3, 8, 8)
    turned = images
    for _ in range(4):
        turned = rotate(turned, 1)
    assert torch.equal(turned, images)
    # A quarter turn counter-clockwise brings the right edge to the top.
    assert torch.equal(rotate(images, 1)[..., 0, :], images[..., :, -1])
    assert rotation_labels(8, torch.device("cpu")).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert torch.equal(rotate_by_quarters(images)[2], rotate(images[2:3], 2)[0])


def test_rotation_term_is_log_4_for_uniform_logits():
    term = game(SSGAN).terms["rotation"]
    term.head = nn.Linear(16, 4)
    nn.init.zeros_(term.head.weight)
    nn.init.zeros_(term.head.bias)
    assert term._cross_entropy(torch.rand(8, 16)).item() == pytest.approx(math.log(4))


def test_rotation_head_gets_no_gradient_from_the_adversarial_loss():
    played = game(SSGAN)
    features = played.discriminator(torch.rand(4, *SHAPE))
    Hinge().discriminator(features.logits[:2], features.logits[2:]).backward()
    assert all(p.grad is None for p in played.terms.parameters())


def test_base_class_says_what_is_missing():
    class Nameless(GAN):
        def players(self):
            return super(GAN, self).players()

    with pytest.raises(AttributeError, match="define players"):
        game(Nameless).players()


@pytest.mark.parametrize(
    ("capabilities", "is_fast"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_bf16": False}, False)],
)
def test_bfloat16_is_fast_where_a_cpu_multiplies_it(capabilities, is_fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_fast_bfloat16.__wrapped__(torch.device("cpu")) is is_fast
