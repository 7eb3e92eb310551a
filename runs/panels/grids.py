"""Pictures of samples alone: a grid, interpolations, truncations, rows of classes."""

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.gans.tasks import PRIORS
from saddlepoint.items import Items
from saddlepoint.runs.captions import captioned, with_row_labels
from saddlepoint.runs.panels.density import SAMPLES, density
from saddlepoint.runs.panels.panel import Panel, Subject, caption_for
from saddlepoint.runs.pictures import picture_of
from saddlepoint.runs.point_pictures import PointPictures


def grid(subject: Subject) -> Panel:
    """Independent samples; what belongs together (input and output, say) side by side.

    Points are as many as show where they lie, over the density of the data where that is known.
    """
    if not subject.has_images and PointPictures.suit(subject.data):
        return density(subject)
    samples = subject.pictures(subject.config.images if subject.has_images else SAMPLES)
    return Panel(captioned(picture_of(samples), caption_for(subject)))


def interpolation(subject: Subject) -> Panel:
    """One row a pair of latents, from one end to the other.

    Normal latents are joined along the great circle (their norm matters), uniform ones along the
    line. A row keeps whatever else its first end was made from.

    Raises:
        UserError: the run's generator is not fed latents.
    """
    config = subject.config
    ends = _with_latents(subject, 2 * config.rows)
    join = slerp if _is_normal(subject) else torch.lerp
    steps = torch.linspace(0, 1, config.columns, device=ends.latents.device)
    rows = [join(a, b, t) for a, b in ends.latents.unflatten(0, (-1, 2)) for t in steps]
    inputs = ends.map(lambda field: field[::2].repeat_interleave(config.columns, 0))
    samples = subject.game.sample(inputs.but(latents=torch.stack(rows)))
    return Panel(captioned(picture_of(samples, config.columns), caption_for(subject)))


def truncation(subject: Subject) -> Panel:
    """One row a bound: the same samples with latents drawn ever further from the centre.

    The latents follow the truncated normal distribution (A. Brock et al., arXiv 1809.11096, section
    3.1), drawn through its distribution function so that a sample moves smoothly with the bound.

    Raises:
        UserError: the run's latents are not normal.
    """
    config = subject.config
    inputs = _with_latents(subject, config.columns)
    if not _is_normal(subject):
        raise UserError("what=truncation needs normal latents, and this run has uniform ones.")
    rows = [inputs.but(latents=truncate(inputs.latents, bound)) for bound in config.truncations]
    samples = torch.cat([subject.game.sample(row) for row in rows])
    labels = [f"{bound:g}" for bound in config.truncations]
    grid = with_row_labels(picture_of(samples, config.columns), labels, "bound")
    return Panel(captioned(grid, caption_for(subject)))


def classes(subject: Subject) -> Panel:
    """One row a class, all else the same in each.

    Raises:
        UserError: the run is not conditional on classes.
    """
    game, config = subject.game, subject.config
    if game.condition is None or not game.condition.num_classes:
        raise UserError("what=classes needs a conditional run, such as gan=cgan_pd.")
    inputs = _with_latents(subject, config.columns)
    rows = [
        inputs.but(condition=torch.full_like(inputs.condition, label))
        for label in range(game.condition.num_classes)
    ]
    grid = picture_of(torch.cat([game.sample(row) for row in rows]), config.columns)
    labelled = with_row_labels(grid, _names_of_classes(subject), "class")
    return Panel(captioned(labelled, caption_for(subject)))


def _names_of_classes(subject: Subject) -> list[str]:
    """As the run's data call them; numbers where they do not."""
    names = subject.run.content["data"].get("classes") or []
    count = subject.game.condition.num_classes
    return list(names) if len(names) == count else [str(number) for number in range(count)]


def _is_normal(subject: Subject) -> bool:
    return subject.game.task.prior is PRIORS["normal"]


def _with_latents(subject: Subject, count: int) -> Items:
    inputs = subject.inputs(count)
    if "latents" not in inputs:
        raise UserError(f"what={subject.config.what} needs latents, and this run is fed images.")
    return inputs


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Point at share t of the way from vector a to vector b along the great circle."""
    cosine = torch.dot(a, b) / (a.norm() * b.norm())
    angle = torch.acos(cosine.clamp(-1 + 1e-7, 1 - 1e-7))
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def truncate(latents: Tensor, bound: float) -> Tensor:
    """Map standard normal latents to the normal distribution cut off at +- ``bound``."""
    normal = torch.distributions.Normal(0.0, 1.0)
    low, high = normal.cdf(torch.tensor([-bound, bound], dtype=torch.float64))
    quantiles = low + (high - low) * normal.cdf(latents.double().cpu())
    return normal.icdf(quantiles).clamp(-bound, bound).to(latents)
