"""Images with one thing changed: held-out ones in all ways, and a user's own in one."""

from collections.abc import Sequence
from itertools import compress

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from saddlepoint.datamodules.own_picture import read_pictures
from saddlepoint.errors import UserError
from saddlepoint.gans.editing import Editing
from saddlepoint.gans.edits import LocalEdits
from saddlepoint.gans.holes import MaskHoles
from saddlepoint.gans.masks import rectangles
from saddlepoint.items import Items
from saddlepoint.runs.panels.panel import Panel, Subject
from saddlepoint.runs.pictures import picture_of, to_uint8
from saddlepoint.schema import nearest


def attributes(subject: Subject) -> Panel:
    """One row an image, one column each attribute (or class), which it is given or loses.

    Raises:
        UserError: the run does not edit images, or its data are missing or others.
    """
    game = _editing(subject)
    items = game.task.held_out_at(range(subject.config.rows), subject.data)
    return Panel(picture_of(game.each_edit(items.to(subject.device))))


def edit(subject: Subject) -> Panel:
    """A user's own picture before and after, and where the hole was; and the edited one by itself.

    Raises:
        UserError: the run does not edit images, there is no such picture or attribute, or it
            cannot be changed alone.
    """
    game, config = _editing(subject), subject.config
    if config.image is None or config.attribute is None:
        raise UserError("what=edit changes a picture: say image=face.png attribute=...")
    choice = _number(config.attribute, game.condition.names)
    images = read_pictures(config.image, game.generator.shape).to(subject.device)
    items, notes = _items(game, images, choice, config)
    inputs = game.task.edit(items, choice)
    if torch.equal(inputs.target, game.condition.of(items)):
        raise UserError(
            f"attribute={config.attribute} cannot be changed by itself: either no region that the"
            " run fills shows it, or a picture always has one of its kind; choose another of"
            f" {', '.join(game.condition.names)}, or put it on by value=true."
        )
    pictures = {"before": images}
    if "mask" in inputs:
        pictures["mask"] = inputs.mask.expand(-1, 3, -1, -1) * 2 - 1
    pictures["after"] = game.sample(inputs)
    names = ["after"] if len(images) == 1 else [f"after-{i}" for i in range(len(images))]
    edited = map(_plain, pictures["after"])
    return Panel(picture_of(pictures), notes, dict(zip(names, edited, strict=True)))


def _editing(subject: Subject) -> Editing:
    if not isinstance(subject.game, Editing):
        raise UserError(
            f"what={subject.config.what} needs a run that edits images, such as gan=ati_gan."
        )
    return subject.game


def _number(name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        near = nearest(name, names)
        cure = f"did you mean {near}?" if near else f"there are {', '.join(names)}."
        raise UserError(f"The run knows no attribute {name}; {cure}")
    return names.index(name)


def _items(
    game: Editing, images: Tensor, choice: int, config: DictConfig
) -> tuple[Items, tuple[str, ...]]:
    """The pictures, what they show and where; and a note if that had to be found out."""
    names = game.condition.names
    own = game.seen_in(images)
    if game.condition.kind == "classes":  # whatever they are, they become another one
        return Items(image=images, label=torch.full_like(own, (choice + 1) % len(names))), ()
    if config.has is not None:
        own[:] = 0
        own[:, [_number(name, names) for name in config.has]] = 1
        notes = ()
    else:
        seen = (", ".join(compress(names, row)) or "none of its attributes" for row in own.tolist())
        notes = (f"The discriminator sees: {'; '.join(seen)}. Say has=[...] where it is wrong.",)
    if config.value is not None:
        own[:, choice] = float(not config.value)
    return Items(image=images, attributes=own, **_places(game, images, config.box)), notes


def _places(game: Editing, images: Tensor, box: Sequence[float] | None) -> dict[str, Tensor]:
    """What the holes of the pictures are taken from: the data's mean boxes, or the user's."""
    if not isinstance(game.task, LocalEdits):
        if box is not None:
            raise UserError("This run changes pictures all over: leave box= out, or use ati_gan.")
        return {}
    boxes, holes = game.condition.boxes, game.task.holes
    if box is None:
        if isinstance(holes, MaskHoles):
            raise UserError("This run's holes come with its data: say where yours is by box=[...].")
        return {"boxes": boxes.expand(len(images), -1, -1)}
    left, top, right, bottom = box
    height, width = images.shape[2:]
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise UserError(
            f"box={list(box)} is no hole in an image of {width} x {height} px: give its left, top,"
            " right and bottom edge."
        )
    own = images.new_tensor([box]).expand(len(images), -1)
    places = {"boxes": own[:, None].expand(-1, len(boxes), -1)}
    if isinstance(holes, MaskHoles):
        places[holes.field] = rectangles(own, (height, width)).float()
    return places


def _plain(image: Tensor) -> Image.Image:
    """An image (c, h, w) in its own pixels."""
    pixels = to_uint8(image.cpu())
    return Image.fromarray((pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)).numpy())
