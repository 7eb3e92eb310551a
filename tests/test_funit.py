"""FUNIT: two losses in closed form, who learns from what, and that it rebuilds and translates."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from play import Made, changed, play, snapshot
from train_cli import composed

from saddlepoint.errors import UserError
from saddlepoint.gans import FUNIT
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.few_shot import FewShotTranslator
from saddlepoint.gans.networks.multi_task import MultiTaskDiscriminator
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import Hinge
from saddlepoint.losses.few_shot import feature_matching, masked_change, real_gradient_penalty
from saddlepoint.losses.term import Step
from saddlepoint.randomness import Draws

SHAPE, N, CLASSES = (3, 16, 16), 6, 4
SMALL = {"iterations": 4, "batch_size": N, "precision": "32", "log_every": 1}


def game(method=FUNIT, width=4, **settings):
    torch.manual_seed(0)
    condition = Classes(CLASSES)
    generator = FewShotTranslator(
        shape=SHAPE, width=width, downs=2, class_downs=2, code=8, mlp_width=16
    )
    critic = MultiTaskDiscriminator(shape=SHAPE, condition=condition, width=4, stages=2)
    return method(generator, critic, condition=condition, **{**SMALL, **settings})


def reals(n=N, shots=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % CLASSES
    return Items(
        image=torch.rand(n, *SHAPE, generator=generator) * 2 - 1,
        label=label,
        target=(label + 1) % CLASSES,
        shots=torch.rand(n, shots, *SHAPE, generator=generator) * 2 - 1,
        mask=(torch.rand(n, 1, *SHAPE[1:], generator=generator) > 0.5).float(),
    )


def a_step(iteration=0, items=None):
    items = reals() if items is None else items
    return Step(iteration, 4, Draws(0), items, [items])


def planes(critic, images, classes):
    _, pooled = critic.features(images)
    return torch.stack([critic.head(pooled)[i, k] for i, k in enumerate(classes)])


# Losses -----------------------------------------------------------------------------------------


def test_the_discriminator_judges_examples_and_translations_for_the_target_class():
    made, items = game(), reals()
    reference = copy.deepcopy(made)
    losses = made.discriminator_loss(a_step())
    with torch.no_grad():
        fake = reference.generator(items.image, items.shots)
    real = planes(reference.discriminator, items.shots[:, 0], items.target)
    hinge = F.relu(1 - real).mean()
    hinge = hinge + F.relu(1 + planes(reference.discriminator, fake, items.target)).mean()
    torch.testing.assert_close(losses["adversarial"], hinge)
    # The penalty differentiates the mean of each example's own map.
    x = items.shots[:, 0].clone().requires_grad_()
    each = planes(reference.discriminator, x, items.target).mean((1, 2))
    (gradient,) = torch.autograd.grad(each.sum(), x)
    penalty = 10 / 64 * gradient.square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(losses["gradient_penalty"], penalty, rtol=1e-4, atol=1e-7)
    sum(losses.values()).backward()
    assert all(p.grad is None for p in made.generator.parameters())


def test_the_generator_translates_rebuilds_and_matches_features():
    made, items = game(), reals()
    reference = copy.deepcopy(made)
    losses = made.generator_loss(a_step())
    critic = reference.discriminator
    translated = reference.generator(items.image, items.shots)
    rebuilt = reference.generator(items.image, items.image[:, None])

    def mean_features(images):
        return critic.features(images)[0].mean((2, 3))

    adversarial = -planes(critic, translated, items.target).mean()
    adversarial = (adversarial - planes(critic, rebuilt, items.label).mean()) / 2
    matching = (mean_features(translated) - mean_features(items.shots[:, 0])).abs().mean()
    matching = matching + (mean_features(rebuilt) - mean_features(items.image)).abs().mean()
    expected = {
        "adversarial": adversarial,
        "reconstruction": 0.1 * (rebuilt - items.image).abs().mean(),
        "feature_matching": matching,
    }
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-6)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in made.generator.parameters())


def test_an_image_that_is_its_own_example_is_rebuilt():
    items = reals()
    items = items.but(target=items.label, shots=items.image[:, None])
    made = game()
    step = a_step(items=items)
    made.generator_loss(step)
    own = made.generator(items.image, items.image[:, None])
    torch.testing.assert_close(step.fake.image, own)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_planes_of_classes_that_are_not_asked_for_stand_still(player):
    items = reals().but(label=torch.zeros(N).long(), target=torch.ones(N).long())
    made = game()
    sum(getattr(made, f"{player}_loss")(a_step(items=items)).values()).backward()
    moved = made.discriminator.head.weight.grad.flatten(1).abs().sum(1) > 0
    # The discriminator's update asks for the target's plane alone, the generator's for both.
    assert moved.tolist() == [player == "generator", True, False, False]


def test_a_hinge_that_is_satisfied_teaches_nothing():
    real = torch.full((2, 1, 3, 3), 1.5, requires_grad=True)
    fake = torch.full((2, 1, 3, 3), -1.0, requires_grad=True)
    loss = Hinge().discriminator(real, fake)
    loss.backward()
    assert loss == 0 and not real.grad.any() and not fake.grad.any()


def test_the_penalty_per_sample_does_not_see_the_batch_and_the_released_one_does():
    critic, x = game().discriminator, reals(1).image

    def score(images):
        logits = planes(critic, images, [2] * len(images))
        return logits.flatten(1).mean(1, keepdim=True)

    alone = real_gradient_penalty(score, x)
    for count in (2, 8):
        repeated = x.repeat(count, 1, 1, 1)
        torch.testing.assert_close(real_gradient_penalty(score, repeated), alone)
        released = real_gradient_penalty(score, repeated, "reference")
        torch.testing.assert_close(released, alone / count**2)
        # As the released code writes it: the gradient of the mean over the batch.
        images = repeated.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(score(images).mean(), images)
        torch.testing.assert_close(released, gradient.square().sum((1, 2, 3)).mean())
    # The default weight is that of the release at 8 images a device.
    assert game().penalty_weight == 10 / 8**2


def test_a_lazy_penalty_counts_as_often_as_it_is_left_out():
    every, lazy = game(), game(penalty_every=3)
    once = every.discriminator_loss(a_step())["gradient_penalty"]
    thrice = lazy.discriminator_loss(a_step())["gradient_penalty"]
    torch.testing.assert_close(thrice, 3 * once)
    assert "gradient_penalty" not in lazy.discriminator_loss(a_step(1))
    assert "gradient_penalty" in lazy.discriminator_loss(a_step(3))


def test_several_examples_are_all_shown_and_their_features_averaged():
    items, made = reals(shots=3), game()
    critic = made.discriminator
    losses = made.discriminator_loss(a_step(items=items))
    real = planes(critic, items.shots.flatten(0, 1), items.target.repeat_interleave(3))
    fake = planes(critic, made.generator(items.image, items.shots), items.target)
    expected = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    torch.testing.assert_close(losses["adversarial"], expected)
    features = critic.features(items.shots.flatten(0, 1))[0]
    fakes = torch.rand(N, *features.shape[1:])
    means = [features[3 * i : 3 * i + 3].mean((0, 2, 3)) for i in range(N)]
    slow = torch.stack([(fakes[i].mean((1, 2)) - means[i]).abs().mean() for i in range(N)]).mean()
    torch.testing.assert_close(feature_matching(fakes, features), slow)


def test_a_masked_change_is_the_mean_over_what_is_kept():
    a, b, kept = reals().image, reals(seed=1).image, reals().mask
    inside = kept.expand_as(a) > 0
    torch.testing.assert_close(masked_change(a, b, kept), (a - b).abs()[inside].mean())
    assert masked_change(a, b, torch.zeros_like(kept)) == 0
    assert masked_change(a, torch.where(inside, a, b), kept) == 0


# The game ---------------------------------------------------------------------------------------


class Watched(FUNIT):
    """Remembers the reals of each update."""

    def __init__(self, *networks, **settings):
        super().__init__(*networks, **settings)
        self.seen = []

    def update(self, player, step):
        self.seen.append((player.name, step.real))
        super().update(player, step)


def test_both_players_see_the_same_batch():
    made = game(Watched)
    play(made, blocks=Made(made, lambda iteration: reals(seed=iteration), stop=2))
    assert [name for name, _ in made.seen] == ["discriminator", "generator"] * 2
    for first, second in (made.seen[:2], made.seen[2:]):
        assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])
    assert not torch.equal(made.seen[0][1].image, made.seen[2][1].image)
    assert (made.batches_per_iteration, made.images_shown) == (1, 2 * N)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_each_player_moves_its_own_network(player):
    made = game(
        **{
            f"{other}_optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.0)
            for other in {"discriminator", "generator"} - {player}
        }
    )
    before = snapshot(made)
    play(made, blocks=Made(made, lambda iteration: reals(), stop=1))
    moved = changed(before, made)
    assert moved and all(name.startswith(player) for name in moved)


def test_the_moving_average_is_the_published_one_and_is_what_is_shown():
    config = composed(["gan=funit"]).gan
    half_life = config.ema_half_life_kimg
    made = game(ema_half_life_kimg=half_life, ema_rampup=config.ema_rampup, batch_size=64)
    assert made.moving_average.decay(64, 64) == pytest.approx(0.999, abs=1e-6)
    decay = made.moving_average.decay(N, N)
    made.batch_size = N
    before = snapshot(made.generator)
    play(made, blocks=Made(made, lambda iteration: reals(), stop=1))
    after, average = snapshot(made.generator), snapshot(made.sampled())
    for name in before:
        expected = decay * before[name] + (1 - decay) * after[name]
        torch.testing.assert_close(average[name], expected, rtol=1e-5, atol=1e-7)
    items = reals()
    made.generator.requires_grad_(False)
    for parameter in made.generator.parameters():
        parameter.fill_(float("nan"))
    assert made.sample(items).isfinite().all()


def test_pictures_show_contents_examples_and_outputs():
    items = reals(40, shots=2)
    data = SimpleNamespace(
        source_classes=("a", "b", "c", "d"),
        target_classes=("e", "f"),
        contents=SimpleNamespace(spec=SimpleNamespace(num_items=40), items_at=items.part),
        examples=lambda classes, chances: Items(image=torch.zeros(*chances.shape, *SHAPE)),
    )
    made = game(shots=2)
    pictures = made.pictures(range(5), data=data)
    assert list(pictures) == ["content", "example 1", "example 2", "output"]
    assert torch.equal(pictures["content"], items.image[:5])
    expected = made.generator.eval()(items.image[:5], torch.zeros(5, 2, *SHAPE))
    torch.testing.assert_close(pictures["output"], expected)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"condition": None}, "condition=classes"), ({"shots": 65}, "at most 64")],
)
def test_what_it_cannot_do_is_refused(settings, sentence):
    made = game()
    with pytest.raises(UserError, match=sentence):
        FUNIT(made.generator, made.discriminator, **{"condition": Classes(4), **settings})


def test_without_its_adversary_it_is_an_auto_encoder():
    """On 8 images the mean error falls below 0.1, as the page of the method asks."""
    items = reals(8)
    # Smooth images: noise of this size would be a matter of capacity.
    smooth = F.interpolate(items.image[..., :4, :4], SHAPE[1:], mode="bilinear")
    items = items.but(image=smooth, shots=smooth.roll(1, 0)[:, None])
    made = game(
        width=8,
        iterations=50,
        batch_size=8,
        adversarial_weight=0.0,
        feature_weight=0.0,
        penalty_weight=0.0,
        reconstruction_weight=1.0,
        generator_optimizer=lambda parameters: torch.optim.Adam(parameters, lr=4e-3),
        discriminator_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0),
    )
    play(made, blocks=Made(made, lambda iteration: items))
    rebuilt = made.generator(items.image, items.image[:, None])
    assert (rebuilt - items.image).abs().mean() < 0.1
