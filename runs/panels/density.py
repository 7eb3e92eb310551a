"""Pictures of points: over their true density, and how they came to lie there."""

import torch

from saddlepoint.errors import UserError
from saddlepoint.runs.animation import frames_of, pictures_of_training
from saddlepoint.runs.film_strip import film_strip
from saddlepoint.runs.panels.panel import Panel, Subject, caption_for
from saddlepoint.runs.point_pictures import PointPictures

SAMPLES = 2000  # where nothing is said


def density(subject: Subject) -> Panel:
    """Samples over the density of the data, with the scores that the run had then.

    Raises:
        UserError: the density of the run's data is not known.
    """
    if not PointPictures.suit(subject.data):
        raise UserError(
            f"what=density needs a run on points of known density, and {subject.data.spec.name} has"
            " none."
        )
    points = torch.cat([*subject.samples(subject.config.num_fake or SAMPLES)])
    return Panel(PointPictures(subject.data).draw(points, caption_for(subject)))


def training(subject: Subject) -> Panel:
    """The pictures that the run made while it trained, one after the other; some side by side.

    Raises:
        UserError: there are less than two.
    """
    paths = pictures_of_training(subject.run.folder / "samples")
    if len(paths) < 2:
        raise UserError(
            f"what=training needs the pictures of the run, and {subject.run.folder / 'samples'} has"
            f" {len(paths)}: train with a smaller sample_every."
        )
    frames = frames_of(paths)
    return Panel(frames[-1], frames=tuple(frames), more={"strip": film_strip(paths)})
