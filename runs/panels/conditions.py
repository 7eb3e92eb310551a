"""What a conditional generator makes of each condition, beside the reals that show it best."""

import itertools

import torch

from saddlepoint.datamodules.pixels import to_uint8
from saddlepoint.errors import UserError
from saddlepoint.items import Items
from saddlepoint.randomness import Draws
from saddlepoint.runs.panels.panel import Panel, Subject
from saddlepoint.runs.pictures import side_by_side


def conditions(subject: Subject) -> Panel:
    """One row a condition: samples of it, and its nearest training images.

    Clusters come in their order, each with the same latents; features and soft assignments are
    drawn as for samples. With ``cluster=`` all rows ask for that cluster, each in its own way.

    Raises:
        UserError: the run's conditions do not come from a representation.
    """
    game, config = subject.game, subject.config
    if game.condition is None or not hasattr(subject.data, "items_of"):
        raise UserError(
            "what=conditions needs a run whose conditions come from a representation, such as"
            " gan=latent_conditioned."
        )
    rows, columns = config.rows, config.columns
    if config.cluster is not None:
        draws = Draws(config.seed, "conditions", device=subject.device)
        asked = subject.data.asking_for(config.cluster, rows, draws)
    elif game.condition.num_classes:
        rows = min(rows, game.condition.num_classes)
        asked = torch.arange(rows, device=subject.device)
    else:
        asked = subject.inputs(rows).condition
    # Rows that ask for the same cluster would be the same with the same latents.
    latents = subject.inputs(columns if config.cluster is None else rows * columns).latents
    samples = [
        game.sample(Items(latents=own, condition=one.expand(columns, *one.shape)))
        for one, own in zip(asked, itertools.cycle(latents.split(columns)), strict=False)
    ]
    items = subject.data.items_of(asked.cpu(), config.neighbours)
    reals = subject.data.source.read(items.flatten()).image.unflatten(0, items.shape)
    blocks = [
        ("samples", to_uint8(torch.stack(samples)).cpu(), None),
        ("nearest training images", reals, None),
    ]
    spec = subject.data.spec
    caption = (
        f"One row a condition ({subject.data.mode}); {spec.num_items:,} images of {spec.name}."
    )
    return Panel(side_by_side(blocks, caption))
