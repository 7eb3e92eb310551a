"""A set to edit in a test: lamps on a wall, whose attributes show in known boxes."""

from dataclasses import replace

import torch
from play import spec_of

from saddlepoint.items import Items
from saddlepoint.randomness import keyed_generator

SHAPE = (3, 16, 16)
SIDE = 6  # of a box, in pixels
NAMES = ("lit", "red", "green", "blue", "bright")
REGIONS = {"lamp": ("lit",), "sign": ("red", "green", "blue")}
EXCLUSIVE = (("red", "green", "blue"),)


class Lamps:
    """A lamp that is lit or not on the left, a sign of one of three colours on the right.

    Each stands at some height of its own; ``bright`` is the wall, and shows in no region.
    """

    def __init__(self, count, seed, held_out=None):
        numbers = keyed_generator("lamps", seed)
        lit, bright = torch.randint(2, (2, count), generator=numbers).float()
        sign = torch.randint(3, (count,), generator=numbers)
        colours = torch.nn.functional.one_hot(sign, 3).float()
        self.attributes = torch.cat([lit[:, None], colours, bright[:, None]], dim=1)
        tops = torch.randint(SHAPE[1] - SIDE + 1, (count, 2), generator=numbers).float()
        lefts = torch.tensor([1.0, SHAPE[2] - SIDE - 1.0]).expand(count, 2)
        self.boxes = torch.stack([lefts, tops, lefts + SIDE, tops + SIDE], dim=-1)
        fields = {"boxes": (2, 4), "mask": (1, *SHAPE[1:])}
        spec = spec_of(SHAPE, num_items=count, attributes=NAMES, **fields)
        self.spec = replace(spec, regions=REGIONS, exclusive=EXCLUSIVE)
        self.held_out = held_out

    def items_at(self, indices):
        attributes, boxes = self.attributes[indices], self.boxes[indices]
        lit, colours, bright = attributes[:, :1], attributes[:, 1:4], attributes[:, 4]
        pixels = torch.arange(SHAPE[1]) + 0.5
        low, high = boxes[:, :, None, :2], boxes[:, :, None, 2:]
        inside = (pixels[:, None] >= low + 1) & (pixels[:, None] < high - 1)
        masks = inside[..., 1][..., :, None] & inside[..., 0][..., None, :]  # (n, 2, h, w)
        image = (0.4 * bright - 0.6)[:, None, None, None].expand(-1, *SHAPE).clone()
        light = lit.expand(-1, 3)
        for mask, colour in ((masks[:, 0], light * 1.6 - 0.8), (masks[:, 1], colours * 1.6 - 0.8)):
            image = torch.where(mask[:, None], colour[:, :, None, None], image)
        mask = masks.any(1)[:, None].float()
        return Items(image=image, attributes=attributes, boxes=boxes, mask=mask, index=indices)

    def real_batches(self, batch_size, indices=None):
        indices = torch.arange(self.spec.num_items) if indices is None else indices
        yield from self.items_at(torch.as_tensor(indices)).batches(batch_size)


def blocks(data, game):
    """Random reals of an iteration, as `play.Made` takes them."""
    count = game.batches_per_iteration * game.batch_size

    def make(iteration):
        numbers = keyed_generator("order", iteration)
        return data.items_at(torch.randint(data.spec.num_items, (count,), generator=numbers))

    return make


def seen(images, boxes):
    """Which attributes images show, (n, 5), read off the middle of the boxes and the wall."""
    rows = torch.arange(len(images))
    middles = ((boxes[..., :2] + boxes[..., 2:]) / 2).long()
    lamp, sign = (images[rows, :, middles[:, r, 1], middles[:, r, 0]] for r in (0, 1))
    wall = images[:, :, :, 0].mean((1, 2)) > -0.4
    colours = torch.nn.functional.one_hot(sign.argmax(1), 3)
    return torch.cat([lamp.mean(1, keepdim=True) > 0, colours, wall[:, None]], dim=1).float()
