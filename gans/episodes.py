"""The task of few-shot translation: images, and a few examples of what they shall become."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.tasks import POSITIONS_PER_KEY, FromImages, at_positions
from saddlepoint.items import Items
from saddlepoint.randomness import Draws

#: Consecutive positions whose contents are translated by the same examples, one set a class.
POSITIONS_PER_EPISODE = 32
#: The most examples that may be asked for.
MOST_SHOTS = 64


class Episodes(FromImages):
    """Images, ``shots`` (n, K, *shape) of the class that each shall become, and it as ``target``.

    In training all of that comes with the reals (`datamodules.class_split`). What is shown starts
    from held-out images of source classes; each shall become a target class, with examples that
    depend on the position's episode alone: never on the method, and k of K are the same as k.

    Args:
        condition: the source classes.
        shots: examples K of what is shown.
    """

    reads = ("label", "shots", "target")

    def __init__(self, condition: Condition, shots: int) -> None:
        super().__init__(condition)
        self.shots = shots

    def inputs(self, draws: Draws, n: int, reals: Sequence[Items]) -> Items:
        """The reals, with the episodes that they come with."""
        return reals[0]

    def shown(self, positions: range, seed: int, data: Any = None) -> Items:
        """Contents, a target class and examples for each, and the number of its ``episode``."""
        if data is None:
            raise ValueError("a task from images is shown on images: give the data")
        contents = data.contents
        items = contents.items_at(torch.tensor(positions) % contents.spec.num_items)
        first, count = len(data.source_classes), len(data.target_classes)

        def draw(draws: Draws, n: int) -> Items:
            number = draws.integers(n, count)
            sets = draws.uniform(n // POSITIONS_PER_EPISODE, count, MOST_SHOTS)
            of_position = torch.arange(n) // POSITIONS_PER_EPISODE
            return Items(number=number, chances=sets[of_position, number])

        drawn = at_positions(positions, seed, draw)
        number = torch.tensor(positions) // POSITIONS_PER_EPISODE * count + drawn.number
        target = first + drawn.number
        shots = data.examples(target, drawn.chances[:, : self.shots])
        return items.but(target=target, shots=shots, episode=number)

    def feed(self, generator: nn.Module, inputs: Items) -> Tensor:
        """G(x, {y_1 .. y_K})."""
        return generator(inputs.image, inputs.shots)


assert POSITIONS_PER_KEY % POSITIONS_PER_EPISODE == 0
