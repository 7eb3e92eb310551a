"""Trivial ways to edit, beside which a score can be read; each takes what the game was fed."""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from saddlepoint.datamodules.pixels import to_float
from saddlepoint.errors import UserError
from saddlepoint.evaluation.colour_transfer import transferred
from saddlepoint.evaluation.fakes import Generated, GeneratorFakes
from saddlepoint.items import Items

BASELINES = ("identity", "nearest", "colours", "truth")
BATCH = 1024


class Baseline:
    """Outputs that take no generator, for the inputs of one.

    - identity: the input as it is. Preserves everything and changes nothing.
    - nearest: a real image, of somebody else: of the examples given, or else of the training images
      that have all the attributes or the class asked for, the one nearest to the input (L2, outside
      the mask where there is one).
    - colours: the input with the colours of its examples, see `evaluation.colour_transfer`; in the
      hair alone where the data know it. Changes nothing but colours.
    - truth: the image as it should be, where the data know.

    Args:
        name: one of `BASELINES`.
        fakes: of the game.

    Raises:
        UserError: there is no such baseline.
    """

    count = None

    def __init__(self, name: str, fakes: GeneratorFakes) -> None:
        if name not in BASELINES:
            raise UserError(f"There is no baseline '{name}': choose of {', '.join(BASELINES)}.")
        self.name, self.fakes = name, fakes
        self.kind, self.source, self.fields = fakes.kind, fakes.source, fakes.fields
        self.shots = fakes.shots

    @property
    def is_possible(self) -> bool:
        """Whether the game is fed with what it needs."""
        if self.name == "colours":
            return "shots" in self.fields and self.source.shape[0] == 3
        wanted = {"truth": "truth", "nearest": "target"}.get(self.name, "image")
        return wanted in self.fields

    def batches(
        self, positions: range, batch_size: int, seed: int, batch_norm: str = "eval"
    ) -> Iterator[Generated]:
        """See `evaluation.fakes.Fakes.batches`."""
        makers = {"identity": _identity, "colours": _recoloured, "truth": _truth}
        make = makers.get(self.name, self._nearest)
        for start in range(positions.start, positions.stop, batch_size):
            part = range(start, min(start + batch_size, positions.stop))
            inputs = self.fakes.inputs_at(part, seed)
            yield Generated(make(inputs), torch.zeros(len(part), dtype=torch.long), inputs)

    def _nearest(self, inputs: Items) -> Tensor:
        """For each input the nearest image of those that show what is asked for."""
        outside = 1 - inputs.get("mask", torch.zeros(len(inputs.image), 1, 1, 1))
        chosen = []
        for candidates, image, weight in zip(
            self._candidates(inputs), inputs.image, outside, strict=True
        ):
            error = ((candidates - image).square() * weight).flatten(1).sum(1)
            chosen.append(candidates[error.argmin()])
        return torch.stack(chosen)

    def _candidates(self, inputs: Items) -> Iterator[Tensor]:
        """For each input the images to choose from (m, *shape): its examples, where it has some."""
        if "shots" in inputs:
            yield from inputs.shots
            return
        images = self._training.image
        asked, shown = self._shown(inputs)
        for item in asked:
            among = (shown == item).reshape(len(shown), -1).all(1)
            # Where no image shows exactly that, any may be the nearest.
            yield to_float(images[among] if among.any() else images)

    def _shown(self, inputs: Items) -> tuple[Tensor, Tensor]:
        """What each input is asked to show, and what each training image shows."""
        if "wanted" in inputs:
            return inputs.wanted > 0.5, self._training.attributes > 0
        return inputs.target, self._training.label

    @cached_property
    def _training(self) -> Items:
        return Items.join(list(self.fakes.data.real_batches(BATCH)))


def _identity(inputs: Items) -> Tensor:
    return inputs.image


def _recoloured(inputs: Items) -> Tensor:
    regions = inputs.get("hair"), inputs.get("hair_of_shots")
    return transferred(inputs.image, inputs.shots, *regions)


def _truth(inputs: Items) -> Tensor:
    return inputs.truth
