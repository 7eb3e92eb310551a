"""Hair colours from few examples: the loss outside the hair, and Reptile's meta-update exactly."""

import copy
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from play import Made, play, snapshot
from test_funit import SHAPE, SMALL, N, a_step, game, reals

from saddlepoint.errors import UserError
from saddlepoint.gans import FewShotHair, FewShotHairReptile
from saddlepoint.gans.networks.conditions import Classes, Vectors
from saddlepoint.gans.networks.patch import PatchDiscriminator
from saddlepoint.gans.networks.stargan import StarGANGenerator
from saddlepoint.items import Items
from saddlepoint.losses.gradient_penalty import input_gradient, interpolates
from saddlepoint.randomness import Draws

SGD = partial(torch.optim.SGD, lr=0.01)


def hair(**settings):
    """A game whose fakes are wanted to stay as they are outside the mask."""
    made = game(FewShotHair, region="mask", **settings)
    return made, made.generator_loss(a_step())


def test_what_changes_outside_the_hair_is_a_loss_of_its_own():
    made, losses = hair(background_weight=2.0)
    _, without = hair()
    assert set(losses) - set(without) == {"background"}
    for name, loss in without.items():
        torch.testing.assert_close(losses[name], loss)
    items = reals()
    with torch.no_grad():
        change = (made.generator(items.image, items.shots) - items.image).abs()
    outside = (items.mask == 0).expand_as(change)
    torch.testing.assert_close(losses["background"], 2 * change[outside].mean())
    assert made.task.reads == ("label", "shots", "target", "mask")
    assert "mask" not in hair()[0].task.reads


# Reptile ----------------------------------------------------------------------------------------


def reptile(lr=0.1, **settings):
    torch.manual_seed(0)
    generator = StarGANGenerator(shape=SHAPE, condition=Vectors(1, 1), width=4, blocks=1)
    critic = PatchDiscriminator(shape=SHAPE, width=4, depth=2, spectral_norm=False)
    settings = {"inner_optimizer": SGD, "lr_schedule": "constant", **SMALL, **settings}
    outer = partial(torch.optim.SGD, lr=lr)
    return FewShotHairReptile(
        generator, critic, condition=Classes(4), outer_optimizer=outer, **settings
    )


def task(iteration=0):
    """Examples of one class, and images of others."""
    items = reals(seed=iteration)
    return items.but(label=torch.zeros(N).long(), target=torch.ones(N).long())


def parameters(made):
    return {
        f"{name}.{key}": value
        for name in ("generator", "discriminator")
        for key, value in snapshot(getattr(made, name)).items()
    }


def played(made, stop=1):
    return play(made, blocks=Made(made, task, stop=stop))


def written_out(made, rate):
    """One inner step of SGD, as the two losses are in the docstring: the parameters after it."""
    generator, critic = copy.deepcopy(made.generator), copy.deepcopy(made.discriminator)
    items, one, zero = task(), torch.ones(N, 1), torch.zeros(N, 1)
    examples, x = items.shots[:, 0], items.image
    fake = generator(x, one).detach()

    def score(images):
        return critic(images).logits.flatten(1).mean(1, keepdim=True)

    draws = Draws(made.seed, "update", 0, "reptile", 0)
    between = input_gradient(score, interpolates(examples, fake, draws))
    penalty = (between.flatten(1).norm(dim=1) - 1).square().mean()
    loss = critic(fake).logits.mean() - critic(examples).logits.mean() + 10 * penalty
    gradients = torch.autograd.grad(loss, list(critic.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(critic.parameters(), gradients, strict=True):
            parameter -= rate * gradient
    fake = generator(x, one)
    loss = -critic(fake).logits.mean() + 10 * (generator(fake, zero) - x).abs().mean()
    gradients = torch.autograd.grad(loss, list(generator.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(generator.parameters(), gradients, strict=True):
            parameter -= rate * gradient
    return parameters(SimpleNamespace(generator=generator, discriminator=critic))


@pytest.mark.parametrize("epsilon", [0.0, 0.25, 1.0])
def test_one_inner_step_moves_the_weights_by_epsilon_of_it(epsilon):
    made = reptile(lr=epsilon, inner_steps=1)
    before, theta = parameters(made), written_out(made, 0.01)
    played(made)
    after = parameters(made)
    for name, phi in before.items():
        if epsilon == 0:
            assert torch.equal(after[name], phi)
        expected = phi + epsilon * (theta[name] - phi)
        torch.testing.assert_close(after[name], expected, rtol=1e-4, atol=1e-6)
    assert any(not torch.equal(theta[name], phi) for name, phi in before.items())
    assert made.images_shown == N


def test_nothing_differentiates_through_the_steps():
    made = played(reptile(inner_steps=3))
    for network in (made.generator, made.discriminator):
        for parameter in network.parameters():
            assert parameter.is_leaf and parameter.grad_fn is None
            assert not parameter.grad.requires_grad
    assert set(made.last_losses) == {
        f"reptile/{name}" for name in ("critic", "gradient_penalty", "adversarial", "cycle")
    }
    assert made.images_shown == 3 * N


def test_optimisers_of_the_copies_begin_anew_with_each_task():
    """With momentum, a second task would otherwise begin with the first one's."""
    momentum = partial(torch.optim.SGD, lr=0.01, momentum=0.9)
    both = played(reptile(inner_optimizer=momentum, inner_steps=2), stop=2)
    again = played(reptile(inner_optimizer=momentum, inner_steps=2), stop=1)
    fresh = reptile(inner_optimizer=momentum, inner_steps=2)
    fresh.load_state(again.state())
    played(fresh, stop=2)
    for name, value in parameters(both).items():
        assert torch.equal(parameters(fresh)[name], value)


def shown(episodes, shots=3):
    n, k = len(episodes), shots
    own = torch.rand(n, k, *SHAPE, generator=torch.Generator().manual_seed(3)) * 2 - 1
    episode = torch.tensor(episodes)
    return Items(image=reals(n).image, shots=own[episode], others=-own[episode], episode=episode)


@pytest.mark.parametrize("ema", [0.0, 0.01])
def test_adaptation_leaves_everything_as_it_was(ema):
    made = reptile(adaptation_steps=2, ema_half_life_kimg=ema)
    before = snapshot(made)
    first = made.sample(shown([0, 1, 0, 2]))
    assert all(torch.equal(before[name], value) for name, value in snapshot(made).items())
    assert torch.equal(made.sample(shown([0, 1, 0, 2])), first)
    assert not any(p.grad is not None for p in made.parameters())


def test_each_image_is_drawn_by_the_translator_of_its_own_episode():
    made, inputs = reptile(adaptation_steps=3), shown([0, 1, 0, 2])
    outputs = made.sample(inputs)
    for i, episode in enumerate([0, 1, 0, 2]):
        generator = made.adapted(inputs.shots[i], inputs.others[i], episode)
        alone = generator(inputs.image[i : i + 1], torch.ones(1, 1))
        torch.testing.assert_close(outputs[i : i + 1], alone, rtol=1e-4, atol=1e-5)
    # More steps go further from the start, and none are the start itself.
    start = reptile(adaptation_steps=0)
    torch.testing.assert_close(
        start.sample(inputs), start.generator.eval()(inputs.image, torch.ones(4, 1))
    )
    assert not torch.allclose(start.sample(inputs), outputs, atol=1e-4)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(UserError, match="at most 64"):
        reptile(shots=65)
