"""ATI-GAN: nothing outside the hole changes, and the hole shows what is asked for."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from lamps import SHAPE, Lamps, blocks, seen
from play import Made, play, spec_of
from torch import nn

from saddlepoint.errors import UserError
from saddlepoint.gans import ATIGAN
from saddlepoint.gans.holes import RegionHoles
from saddlepoint.gans.masks import crop, windows
from saddlepoint.gans.networks.conditions import Attributes
from saddlepoint.gans.networks.edits import Edits
from saddlepoint.gans.networks.inpainting import InpaintingGenerator, composed
from saddlepoint.gans.networks.stargan import StarGANDiscriminator
from saddlepoint.gans.networks.translator import Translator
from saddlepoint.losses.attributes import attribute_loss
from saddlepoint.losses.gradient_penalty import WassersteinGradientPenalty
from saddlepoint.losses.schedule import Piecewise
from saddlepoint.losses.term import Step
from saddlepoint.randomness import Draws
from saddlepoint.runs.pictures import to_uint8

ADAM = partial(torch.optim.Adam, lr=2e-3, betas=(0.5, 0.99))
WINDOW = 8


@pytest.fixture(scope="module")
def data():
    return Lamps(256, 0, held_out=Lamps(96, 1))


@pytest.fixture(scope="module")
def condition(data):
    condition = Edits.of_data(data.spec)
    condition.fill(data)
    return condition


def generator_of(condition, **options):
    return InpaintingGenerator(
        shape=SHAPE, condition=condition, **{"width": 8, "dilations": (1, 2), **options}
    )


def game_of(condition, generator=None, window=WINDOW, **settings):
    torch.manual_seed(0)
    network = partial(StarGANDiscriminator, shape=SHAPE, condition=condition, width=8)
    defaults = {"iterations": 2, "batch_size": 8, "precision": "32", "n_dis": 1}
    optimizers = {"discriminator_optimizer": ADAM, "generator_optimizer": ADAM}
    return ATIGAN(
        generator or generator_of(condition),
        network(),
        network(window=window),
        condition=condition,
        **{"holes": RegionHoles(most=window), **defaults, **optimizers, **settings},
    )


def step_of(game, data, n=8, iteration=0, **fields):
    real = data.items_at(torch.arange(n))
    real = real.but(condition=game.condition.of(real))
    draws = Draws(0, "step")
    inputs = game.task.inputs(draws, n, [real]).but(**fields)
    return Step(iteration, 10, draws, inputs, [real])


# What the generator is and sees -----------------------------------------------------------------


class Broken(nn.Module):
    """A generator that draws one value everywhere."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, maps):
        return torch.full_like(maps[:, :3], self.value)


@pytest.mark.parametrize("value", [0.3, torch.nan, torch.inf, -torch.inf])
def test_outside_the_hole_an_output_is_its_input_whatever_is_drawn(value, data, condition):
    game = game_of(condition)
    game.generator.steps[0] = Broken(value)
    inputs = game.inputs_at(range(20), data=data)
    output = game.sample(inputs)
    outside = (inputs.mask == 0).expand_as(output)
    assert torch.equal(output[outside], inputs.image[outside])
    expected = torch.full_like(output, value)[~outside]
    assert torch.equal(output[~outside].isnan(), expected.isnan())
    # And so it is in eight bits.
    stored = to_uint8(output)[outside], to_uint8(inputs.image)[outside]
    assert torch.equal(*stored)


@pytest.mark.parametrize("variant", ["single", "coarse_to_fine"])
def test_what_stands_in_the_hole_is_not_looked_at(variant, data, condition):
    generator = generator_of(condition, variant=variant)
    items = data.items_at(torch.arange(6))
    mask, target = torch.zeros(6, 1, *SHAPE[1:]), items.attributes.flip(0)
    mask[:, :, 3:9, 2:10] = 1
    drawn = generator.painted(items.image, target, mask)
    assert len(drawn) == (1 if variant == "single" else 2)
    other = torch.where(mask > 0, torch.nan, items.image)
    assert all(map(torch.equal, generator.painted(other, target, mask), drawn))
    # So the way back of StarGAN is the reconstruction: both have the same input.
    there = generator(items.image, target, mask)
    back = generator(there, items.attributes, mask)
    assert torch.equal(back, generator(items.image, items.attributes, mask))
    # All hole: no image is seen at all. No hole: the image itself.
    ones, zeros = torch.ones_like(mask), torch.zeros_like(mask)
    assert torch.equal(
        generator(items.image, target, ones), generator(items.image.flip(0), target, ones)
    )
    assert torch.equal(generator(items.image, target, zeros), items.image)


@pytest.mark.parametrize("planes", ["hole", "image"])
def test_the_target_reaches_the_output(planes, data, condition):
    generator = generator_of(condition, target_planes=planes)
    items = data.items_at(torch.arange(4))
    mask = torch.zeros(4, 1, *SHAPE[1:])
    mask[:, :, 2:10, 2:10] = 1
    other = condition.changed(items.attributes, torch.zeros(4, dtype=torch.long))
    a, b = (generator(items.image, target, mask) for target in (items.attributes, other))
    assert (a - b).abs().amax((1, 2, 3)).min() > 1e-4


def test_generators_have_the_parameters_of_their_table():
    """Conv7, two convolutions of stride 2, residual blocks, two up-convolutions, conv7."""
    condition = Edits(5, 1, names=tuple("abcde"))

    def count(**options):
        network = InpaintingGenerator(shape=(3, 128, 128), condition=condition, **options)
        return sum(p.numel() for p in network.parameters())

    norms = 2 * (64 + 128 + 256 + 128 + 64 + 12 * 256)
    body = 49 * 9 * 64 + 16 * (64 * 128 + 128 * 256) + 12 * 9 * 256**2 + 49 * 64 * 3 + norms
    up = 256 * 128 + 128 * 64
    assert count() == body + 9 * up
    assert count(upsampling="transposed") == body + 16 * up
    assert count(variant="coarse_to_fine") == 2 * count()
    dilations = [
        m.dilation[0]
        for m in Translator(4, 3, width=4, dilations=(1, 2, 8)).modules()
        if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)
    ]
    assert dilations[:6] == [1, 1, 2, 1, 8, 1]


# Losses -----------------------------------------------------------------------------------------


def test_without_a_hole_only_the_context_moves_the_generator(data, condition):
    game = game_of(condition, variation_weight=1.0)
    step = step_of(game, data, mask=torch.zeros(8, 1, *SHAPE[1:]))
    for name, loss in game.generator_loss(step).items():
        if not loss.requires_grad:
            continue
        gradients = torch.autograd.grad(
            loss, list(game.generator.parameters()), retain_graph=True, allow_unused=True
        )
        moves = any(g is not None and g.abs().sum() > 0 for g in gradients)
        assert moves == (name == "context"), name


class Drawing(nn.Module):
    """A generator whose drawing is a parameter."""

    shape, fill = SHAPE, 0.0

    def __init__(self, n):
        super().__init__()
        self.drawn = nn.Parameter(torch.rand(n, *SHAPE) * 2 - 1)

    def painted(self, images, target, mask):
        return [self.drawn]

    def forward(self, images, target, mask):
        return composed(self.drawn, images, mask)


def test_each_loss_reaches_its_part_of_what_is_drawn(data, condition):
    game = game_of(condition, generator=Drawing(8))
    step = step_of(game, data)
    hole = (step.inputs.mask > 0).expand(-1, 3, -1, -1)
    rebuilt = (step.inputs.target == step.real.attributes).all(1)
    assert 0 < rebuilt.sum() < 8
    losses = game.generator_loss(step)
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss, game.generator.drawn, retain_graph=True)
        if name == "context":
            assert not gradient[hole].any() and (gradient[~hole] != 0).all()
        else:
            assert not gradient[~hole].any() and gradient[hole].any(), name
        if name == "reconstruction":
            assert not gradient[~rebuilt].any() and (gradient[rebuilt][hole[rebuilt]] != 0).all()
    # Means over holes and around them, of any size.
    image = step.inputs.image
    game.generator.drawn.data = image + 0.3
    losses = game.generator_loss(step)
    assert losses["reconstruction"].item() == pytest.approx(10 * 0.3, rel=1e-5)
    assert losses["context"].item() == pytest.approx(0.3, rel=1e-5)


def test_only_what_the_region_may_change_counts_in_the_generators_attributes(data, condition):
    game = game_of(condition, generator=Drawing(8), global_class_weight=0.25)
    step = step_of(game, data)
    losses = game.generator_loss(step)
    fake, mask = game.generate(step.inputs), step.inputs.mask
    changeable = condition.allowed[step.inputs.region].float()
    assert 0 < changeable.sum() < changeable.numel()
    for name, view, weight in (
        ("global", fake, 0.25),
        ("local", crop(fake, windows(mask, WINDOW), WINDOW), 1.0),
    ):
        network = game.critics[name].network
        logits = network.shows(network(view).pooled).detach().requires_grad_()
        loss = weight * attribute_loss(logits, step.inputs.target, changeable)
        torch.testing.assert_close(losses[f"{name} classes"], loss)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.equal(gradient != 0, changeable > 0)
        probability = logits.sigmoid()
        expected = weight * changeable * (probability - step.inputs.target) / 8
        torch.testing.assert_close(gradient, expected)


def test_the_penalty_counts_gradients_in_the_hole_alone():
    weights = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(4, 1, 6, 6)
    for i in range(4):
        mask[i, :, : i + 1, 2:5] = 1
    images = torch.rand(2, 4, 3, 6, 6)
    linear = lambda x: (x * weights).sum((1, 2, 3))[:, None]  # noqa: E731
    found = WassersteinGradientPenalty().penalty(linear, *images, Draws(0), mask)
    expected = ((weights * mask).flatten(1).norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("patches", ["mean", "sum"])
def test_critics_learn_attributes_from_reals_alone_and_take_penalties_of_their_map(
    patches, data, condition
):
    game = game_of(condition, patches=patches)
    step = step_of(game, data)
    losses = game.discriminator_loss(step)
    assert set(losses) == {
        f"{who} {what}"
        for who in ("global", "local")
        for what in ("adversarial", "gradient_penalty", "classes")
    }
    mask = step.inputs.mask
    cut = windows(mask, WINDOW)
    for name, view in (("global", lambda x: x), ("local", lambda x: crop(x, cut, WINDOW))):
        network = game.critics[name].network
        real, fake = view(step.real.image), view(game.generate(step.inputs)).detach()
        judged = network(real)
        torch.testing.assert_close(
            losses[f"{name} adversarial"], network(fake).logits.mean() - judged.logits.mean()
        )
        classes = attribute_loss(network.shows(judged.pooled), step.real.attributes)
        torch.testing.assert_close(losses[f"{name} classes"], classes)
        positions = judged.logits[0].numel()
        assert positions > 1
        logit = game.critics[name].logit(real)[:, 0]
        each = judged.logits.flatten(1).mean(1)
        torch.testing.assert_close(logit, each if patches == "mean" else each * positions)


def test_while_it_warms_up_the_generator_only_fills_in(data, condition):
    weight = Piecewise([[0.0, 0.0], [0.3, 0.0], [0.3, 1.0]])
    game = game_of(condition, adversarial_weight=weight, class_weight=weight)
    assert set(game.generator_loss(step_of(game, data, iteration=2))) == {
        "reconstruction",
        "context",
    }
    # Then everything is to be as it was.
    step = step_of(game, data, iteration=2)
    game.generator_loss(step)
    assert torch.equal(step.inputs.target, step.real.attributes)
    later = game.generator_loss(step_of(game, data, iteration=3))
    assert {"global adversarial", "local classes"} <= set(later)
    # The critics learn attributes meanwhile, and nothing of fakes.
    assert set(game.discriminator_loss(step_of(game, data, iteration=2))) == {
        "global classes",
        "local classes",
    }
    assert len(game.discriminator_loss(step_of(game, data, iteration=3))) == 6


# The game ---------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_before_training(data, condition):
    with pytest.raises(UserError, match="has a side of 6 px.*local_discriminator.window=6"):
        game_of(condition, window=5).fill(data)
    game_of(condition, window=6).fill(data)
    without = replace(data.spec, regions={})
    with pytest.raises(UserError, match="say where regions are"):
        game_of(Edits.of_data(without))
    with pytest.raises(UserError, match="condition=edits"):
        game_of(Attributes.of_data(spec_of(SHAPE, attributes=("a", "b"))))


def test_pictures_are_images_what_is_seen_of_them_and_outputs(data, condition):
    game = game_of(condition)
    pictures = game.pictures(range(5), data=data)
    assert list(pictures) == ["input", "mask", "output"]
    hole = (game.inputs_at(range(5), data=data).mask > 0).expand(-1, 3, -1, -1)
    assert (pictures["mask"][hole] == 0).all()
    assert torch.equal(pictures["mask"][~hole], pictures["input"][~hole])
    each = game.each_edit(data.items_at(torch.arange(3)))
    assert list(each) == ["input", *condition.names]


def test_it_learns_to_fill_holes_with_what_is_asked_for(data, condition):
    settings = {"iterations": 90, "batch_size": 16, "lr_schedule": "constant"}
    game = game_of(condition, **settings)
    game.fill(data)
    inputs = game.inputs_at(range(96), data=data)

    def share_right():
        shown = seen(game.sample(inputs), inputs.boxes)
        return (shown == inputs.target).all(1).float().mean()

    assert torch.equal(seen(inputs.image, inputs.boxes), inputs.attributes)
    assert share_right() < 0.6
    play(game, blocks=Made(game, blocks(data, game)))
    assert share_right() > 0.99
