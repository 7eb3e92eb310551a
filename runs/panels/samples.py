"""Pictures of samples alone: a grid, interpolations, truncations, rows of classes."""

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.runs.panels.panel import Panel, Subject
from saddlepoint.runs.pictures import picture_of


def grid(subject: Subject) -> Panel:
    """Independent samples."""
    config = subject.config
    return Panel(
        picture_of(subject.game.sample(subject.game.inputs_at(range(config.images), config.seed)))
    )


def interpolation(subject: Subject) -> Panel:
    """One row a pair of latents, from one end to the other.

    Normal latents are joined along the great circle (their norm matters), uniform ones along the
    line. A row keeps the class of its first end.
    """
    game, config = subject.game, subject.config
    ends, labels = game.latents_at(0, 2 * config.rows, config.seed)
    join = slerp if game.latent_prior == "normal" else torch.lerp
    steps = torch.linspace(0, 1, config.columns, device=ends.device)
    rows = [join(a, b, t) for a, b in ends.unflatten(0, (-1, 2)) for t in steps]
    labels = labels[::2].repeat_interleave(config.columns)
    samples = game.sample(latents=torch.stack(rows), labels=labels)
    return Panel(picture_of(samples, config.columns))


def truncation(subject: Subject) -> Panel:
    """One row a bound: the same samples with latents drawn ever further from the centre.

    The latents follow the truncated normal distribution (A. Brock et al., arXiv 1809.11096, section
    3.1), drawn through its distribution function so that a sample moves smoothly with the bound.

    Raises:
        UserError: the run's latents are not normal.
    """
    game, config = subject.game, subject.config
    if game.latent_prior != "normal":
        raise UserError("what=truncation needs normal latents, and this run has uniform ones.")
    latents, labels = game.latents_at(0, config.columns, config.seed)
    rows = torch.cat([truncate(latents, bound) for bound in config.truncations])
    labels = labels.repeat(len(config.truncations))
    return Panel(picture_of(game.sample(latents=rows, labels=labels), config.columns))


def classes(subject: Subject) -> Panel:
    """One row a class, the same latents in each.

    Raises:
        UserError: the run is not conditional.
    """
    game, config = subject.game, subject.config
    if not game.num_classes:
        raise UserError("what=classes needs a conditional run, such as gan=cgan_pd.")
    latents, _ = game.latents_at(0, config.columns, config.seed)
    labels = torch.arange(game.num_classes, device=latents.device)
    samples = game.sample(
        latents=latents.repeat(game.num_classes, 1),
        labels=labels.repeat_interleave(config.columns),
    )
    return Panel(picture_of(samples, config.columns))


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
