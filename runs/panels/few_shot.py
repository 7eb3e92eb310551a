"""Few-shot translations: of held-out images to every target class, and of a user's own pictures."""

import torch

from saddlepoint.datamodules.own_picture import read_pictures
from saddlepoint.errors import UserError
from saddlepoint.gans.episodes import POSITIONS_PER_EPISODE, AdaptiveEpisodes, Episodes
from saddlepoint.runs.panels.panel import Panel, Subject
from saddlepoint.runs.pictures import picture_of

#: The most pictures of a user's own that one panel shows.
MOST_PICTURES = 64


def target_classes(subject: Subject) -> Panel:
    """One row a class that was never trained on: an example, and contents drawn like it.

    The first row has the contents themselves. All of a row are drawn by the same examples.

    Raises:
        UserError: the run is no few-shot translation, or its data are missing or others.
    """
    task, game, data = _episodes(subject), subject.game, subject.data
    positions = range(min(subject.config.columns, POSITIONS_PER_EPISODE))
    rows = []
    for number in range(len(data.target_classes)):
        inputs = task.shown(positions, subject.config.seed, data, number).to(subject.device)
        if not rows:
            rows.append(torch.cat([torch.ones_like(inputs.image[:1]), inputs.image]))
        rows.append(torch.cat([inputs.shots[0, :1], game.sample(inputs)]))
    notes = (f"Rows, from the second on: {', '.join(data.target_classes)}.",)
    return Panel(picture_of(torch.cat(rows), len(positions) + 1), notes)


def translate(subject: Subject) -> Panel:
    """A user's own pictures, drawn like the class that a few others show.

    Raises:
        UserError: the run is no few-shot translation, or there are no such pictures.
    """
    task, game, config = _episodes(subject), subject.game, subject.config
    if config.image is None or config.shots is None:
        raise UserError("what=translate wants pictures: give image=<file> and shots=<folder>.")
    images = read_pictures(config.image, game.generator.shape)[:MOST_PICTURES]
    shots = read_pictures(config.shots, game.generator.shape)[:MOST_PICTURES]
    data = subject.data if isinstance(task, AdaptiveEpisodes) else None
    inputs = task.given(images, shots, data).to(subject.device)
    return Panel(picture_of(task.columns(inputs, game.sample(inputs))))


def _episodes(subject: Subject) -> Episodes:
    task = subject.game.task
    if not isinstance(task, Episodes):
        raise UserError(
            f"what={subject.config.what} needs a few-shot translation, such as gan=funit."
        )
    return task
