"""The task of few-shot translation: images, and a few examples of what they shall become."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.tasks import FromImages, at_positions
from saddlepoint.items import Items
from saddlepoint.randomness import Draws, keyed_generator

#: Consecutive positions whose contents are translated by the same examples, one set a class.
POSITIONS_PER_EPISODE = 32
#: The most examples that may be asked for.
MOST_SHOTS = 64
COLUMNS_OF_EXAMPLES = 3  # in pictures


class Episodes(FromImages):
    """Images, ``shots`` (n, K, *shape) of the class that each shall become, and it as ``target``.

    In training all of that comes with the reals (`datamodules.class_split`). What is shown starts
    from held-out images of source classes; each shall become a target class, with examples that
    depend on the seed and the position's episode alone: never on the method, and the first k of K
    are those that k would be.

    Args:
        condition: the source classes.
        shots: examples K of what is shown.

    Raises:
        UserError: no classes, or more examples than `MOST_SHOTS`.
    """

    reads: tuple[str, ...] = ("label", "shots", "target")

    def __init__(self, condition: Condition | None, shots: int) -> None:
        if condition is None or condition.kind != "classes":
            raise UserError("Few-shot translation learns from classes: set condition=classes.")
        if shots > MOST_SHOTS:
            raise UserError(f"gan.shots={shots} is not to be had: give at most {MOST_SHOTS}.")
        super().__init__(condition)
        self.shots = shots

    def with_shots(self, shots: int) -> "Episodes":
        """The same task with another number of examples.

        Raises:
            UserError: more than `MOST_SHOTS`.
        """
        return type(self)(self.condition, shots)

    def inputs(self, draws: Draws, n: int, reals: Sequence[Items]) -> Items:
        """The reals, with the episodes that they come with."""
        return reals[0]

    def shown(
        self, positions: range, seed: int, data: Any = None, target: int | None = None
    ) -> Items:
        """Contents, a target class and examples for each, and the number of its ``episode``.

        Args:
            positions: consecutive ones.
            seed: key of what is drawn.
            data: see `datamodules.class_split.ClassSplit`.
            target: number among the target classes of what all shall become; drawn by default.
        """
        if data is None:
            raise ValueError("a task from images is shown on images: give the data")
        contents = data.contents
        items = contents.items_at(torch.tensor(positions) % contents.spec.num_items)
        first, count = len(data.source_classes), len(data.target_classes)

        def draw(draws: Draws, n: int) -> Items:
            number = draws.integers(n, count)
            number = number if target is None else torch.full_like(number, target)
            sets = draws.uniform(n // POSITIONS_PER_EPISODE, count, MOST_SHOTS)
            of_position = torch.arange(n) // POSITIONS_PER_EPISODE
            return Items(number=number, chances=sets[of_position, number])

        drawn = at_positions(positions, seed, draw)
        episode = torch.tensor(positions) // POSITIONS_PER_EPISODE * count + drawn.number
        classes = first + drawn.number
        examples = data.examples(classes, drawn.chances[:, : self.shots])
        # Masks (n, K, 1, h, w): where something is in the examples, hair say.
        masks = {
            f"{name}_of_shots": field
            for name, field in examples.items()
            if name != "image" and field.ndim == 5 and field.shape[2] == 1
        }
        return items.but(target=classes, shots=examples.image, episode=episode, **masks)

    def given(self, images: Tensor, shots: Tensor, data: Any = None) -> Items:
        """What the generator is fed for pictures of a user's own.

        Args:
            images: (n, *shape) to translate.
            shots: (K, *shape), the examples of what all of them shall become.
            data: of the run, where a method needs more than that.
        """
        n = len(images)
        return Items(
            image=images,
            shots=shots.expand(n, *shots.shape),
            episode=torch.zeros(n, dtype=torch.int64),
        )

    def columns(self, inputs: Items, output: Tensor) -> dict[str, Tensor]:
        """Contents, the first examples of what they shall become, and what they became."""
        count = min(COLUMNS_OF_EXAMPLES, inputs.shots.shape[1])
        examples = {f"example {k + 1}": inputs.shots[:, k] for k in range(count)}
        return {"content": inputs.image, **examples, "output": output}

    def feed(self, generator: nn.Module, inputs: Items) -> Tensor:
        """G(x, {y_1 .. y_K})."""
        return generator(inputs.image, inputs.shots)


class AdaptiveEpisodes(Episodes):
    """Episodes for a generator that is trained on each before it is used.

    What is shown has ``others`` (n, K, *shape), too: images to train on, one set an episode, from
    which that training starts.
    """

    def shown(
        self, positions: range, seed: int, data: Any = None, target: int | None = None
    ) -> Items:
        """See `Episodes.shown`."""
        items = super().shown(positions, seed, data, target)
        return items.but(others=self._others(items.episode, seed, data))

    def given(self, images: Tensor, shots: Tensor, data: Any = None) -> Items:
        """See `Episodes.given`; needs the data."""
        items = super().given(images, shots)
        return items.but(others=self._others(items.episode, 0, data, len(shots)))

    def _others(self, episode: Tensor, seed: int, data: Any, count: int | None = None) -> Tensor:
        def chances(number: int) -> Tensor:
            generator = keyed_generator(seed, "others", number)
            return torch.rand(MOST_SHOTS, generator=generator)[: count or self.shots]

        different, of_item = episode.unique(return_inverse=True)
        sets = data.others(torch.stack([chances(number) for number in different.tolist()]))
        return sets[of_item]

    def feed(self, generator: nn.Module, inputs: Items) -> Tensor:
        """G(x, 1): what the generator was adapted to draw."""
        return generator(inputs.image, torch.ones(inputs.count, 1, device=inputs.image.device))
