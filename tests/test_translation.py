"""Images in, images out: a minimal translation to attributes, and that it learns."""

from functools import partial

import pytest
import torch
from play import Made, play, spec_of
from torch import nn

from saddlepoint.gans.critic import Critic
from saddlepoint.gans.game import Game, Player
from saddlepoint.gans.networks.conditions import Attributes
from saddlepoint.gans.networks.patch import PatchDiscriminator
from saddlepoint.gans.tasks import FromImages
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import Hinge
from saddlepoint.randomness import keyed_generator

SHAPE, SIDE, BATCH = (3, 16, 16), 6, 16
ADAM = partial(torch.optim.Adam, lr=2e-3, betas=(0.5, 0.99))


class Squares:
    """Green squares anywhere in the dark; two attributes say whether they are red and blue, too.

    In [-1, 1]; the mask says where a square is.
    """

    def __init__(self, count, seed, held_out=None):
        numbers = keyed_generator("squares", seed)
        self.attributes = torch.randint(2, (count, 2), generator=numbers).float()
        self.corners = torch.randint(SHAPE[1] - SIDE + 1, (count, 2), generator=numbers)
        self.spec = spec_of(SHAPE, num_items=count, attributes=("red", "blue"))
        self.held_out = held_out

    def items_at(self, indices):
        attributes, rows = self.attributes[indices], torch.arange(SHAPE[1])
        y, x = self.corners[indices].T[:, :, None]
        inside = ((rows >= y) & (rows < y + SIDE))[:, :, None]
        mask = (inside & ((rows >= x) & (rows < x + SIDE))[:, None, :])[:, None].float()
        red, blue = attributes.T
        colour = torch.stack([red, torch.ones_like(red), blue], dim=1) * 1.6 - 0.8
        image = mask * colour[:, :, None, None] - (1 - mask)
        return Items(image=image, attributes=attributes, mask=mask, index=indices)

    def real_batches(self, batch_size, indices=None):
        yield from self.items_at(torch.arange(self.spec.num_items)).batches(batch_size)


class Repaint(nn.Module):
    """Images and target attributes, as maps beside them, to images."""

    shape = SHAPE

    def __init__(self, width=16):
        super().__init__()
        convolution = partial(nn.Conv2d, kernel_size=3, padding=1)
        self.layers = nn.Sequential(
            *(convolution(5, width), nn.ReLU()),
            *(convolution(width, width), nn.ReLU()),
            convolution(width, 3),
        )

    def forward(self, images, target):
        maps = target[:, :, None, None].expand(-1, -1, *images.shape[2:])
        return torch.tanh(self.layers(torch.cat([images, maps], dim=1)))


class Translation(Game):
    """The critic knows attributes; the generator fools it, and finds its way back.

    A small form of Y. Choi et al., "StarGAN", CVPR 2018, arXiv 1711.09020.
    """

    def __init__(self, generator, critic, condition, cycle_weight=5.0, **settings):
        networks = {"generator": generator, "discriminator": critic}
        super().__init__(networks, FromImages(condition), **settings)
        self.critic = Critic(critic, self.autocast)
        self.cycle_weight = cycle_weight

    def players(self):
        return [Player("discriminator", ADAM, judged=1), Player("generator", ADAM)]

    def discriminator_loss(self, step):
        with torch.no_grad():
            step.fake = self.fakes(step.inputs)
        seen = self.critic.look({"real": step.real, "fake": step.fake})
        return {"adversarial": Hinge().discriminator(seen["real"].logits, seen["fake"].logits)}

    def generator_loss(self, step):
        step.fake = self.fakes(step.inputs)
        seen = self.critic.look({"fake": step.fake})
        back = self.generate(Items(image=step.fake.image, target=step.real.condition))
        return {
            "adversarial": Hinge().generator(seen["fake"].logits),
            "cycle": self.cycle_weight * (back - step.real.image).abs().mean(),
        }


@pytest.fixture(scope="module")
def data():
    return Squares(512, seed=0, held_out=Squares(96, seed=1))


def translation(data, iterations):
    torch.manual_seed(0)
    condition = Attributes.of_data(data.spec)
    condition.fill(data)
    critic = PatchDiscriminator(shape=SHAPE, condition=condition, width=16, depth=2)
    settings = {"iterations": iterations, "batch_size": BATCH, "precision": "32", "log_every": 50}
    return Translation(Repaint(), critic, condition, **settings)


def reals(data):
    def make(iteration):
        draw = keyed_generator("order", iteration)
        return data.items_at(torch.randint(data.spec.num_items, (2 * BATCH,), generator=draw))

    return make


def colours(images, mask):
    """Whether the square of each image is red, green, blue: (n, 3)."""
    return (images * mask).sum((2, 3)) / mask.sum((2, 3)) > 0


def test_what_is_fed_in_training_and_what_a_critic_is_told(data):
    seen = []

    class Watcher(Translation):
        def update(self, player, step):
            super().update(player, step)
            seen.append(step)

    torch.manual_seed(0)
    condition = Attributes.of_data(data.spec)
    condition.fill(data)
    critic = PatchDiscriminator(shape=SHAPE, condition=condition, width=8, depth=2)
    settings = {"iterations": 1, "batch_size": BATCH, "precision": "32"}
    made = Watcher(Repaint(8), critic, condition, **settings)
    play(made, blocks=Made(made, reals(data)))
    for step in seen:
        assert torch.equal(step.inputs.image, step.real.image)
        assert torch.equal(step.real.condition, step.real.attributes)
        assert step.inputs.target.shape == (BATCH, 2)
        # A fake has the attributes asked of it, not those of the image it was made from.
        assert torch.equal(step.fake.condition, step.inputs.target)
        assert not torch.equal(step.fake.condition, step.real.condition)
        assert step.fake.image.shape == step.real.image.shape
    assert made.images_shown == BATCH


def test_what_is_shown_starts_from_held_out_items(data):
    made = translation(data, 1)
    assert made.needs_data
    shown = made.inputs_at(range(90, 100), data=data)
    expected = data.held_out.items_at(torch.tensor([90, 91, 92, 93, 94, 95, 0, 1, 2, 3]))
    assert torch.equal(shown.image, expected.image)
    assert torch.equal(shown.index, expected.index)
    # By its position alone, whatever is shown around it; another seed asks for something else.
    whole = made.inputs_at(range(100), data=data)
    assert torch.equal(whole.part(slice(90, 100)).target, shown.target)
    assert not torch.equal(made.inputs_at(range(100), 1, data).target, whole.target)
    assert torch.equal(made.inputs_at(range(100), 1, data).image, whole.image)
    without = Squares(20, seed=2)
    assert torch.equal(
        made.inputs_at(range(19, 21), data=without).image,
        without.items_at(torch.tensor([19, 0])).image,
    )
    pictures = made.pictures(range(4), data=data)
    assert list(pictures) == ["input", "output"]
    assert torch.equal(pictures["output"], made.sample(made.inputs_at(range(4), data=data)))
    with pytest.raises(ValueError, match="give the data"):
        made.inputs_at(range(4))


def test_it_learns_to_paint_held_out_squares_in_the_colour_asked_for(data):
    made = translation(data, 400)
    inputs = made.inputs_at(range(data.held_out.spec.num_items), data=data)
    asked = torch.stack([inputs.target[:, 0], torch.ones(96), inputs.target[:, 1]], dim=1) > 0.5

    def share_right():
        return (colours(made.sample(inputs), inputs.mask) == asked).all(1).float().mean().item()

    assert share_right() < 0.5
    play(made, blocks=Made(made, reals(data)))
    assert share_right() >= 0.9
    # And the squares are where they were.
    outside = 1 - inputs.mask
    dark = (made.sample(inputs) * outside).sum() / (3 * outside.sum())
    assert dark < -0.7
