"""Tasks of editing: images to be given other attributes, all over or in a hole."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saddlepoint.gans.holes import Holes
from saddlepoint.gans.networks.conditions import Editable
from saddlepoint.gans.networks.edits import Edits, chosen
from saddlepoint.gans.tasks import FromImages, at_positions
from saddlepoint.items import Items
from saddlepoint.randomness import Draws
from saddlepoint.ranks import of_all_ranks


class Translations(FromImages):
    """Images, and what each shall become.

    In training that is what another image of the batch is. What is shown differs in exactly one
    attribute, or is of another class.

    Args:
        condition: `conditions.Classes` or `networks.edits.Edits`.
    """

    condition: Editable

    def __init__(self, condition: Editable) -> None:
        super().__init__(condition)

    def inputs(self, draws: Draws, n: int, reals: Sequence[Items]) -> Items:
        """The reals, with the conditions of the whole batch in random order as ``target``."""
        own = self.condition.of(reals[0])
        return reals[0].but(target=of_all_ranks(own)[draws.permutation(n)])

    def shown(self, positions: range, seed: int, data: Any = None) -> Items:
        """Held-out items, and ``target``, drawn among the changes possible to each."""
        items = self.held_out_at(positions, data)
        own = self.condition.of(items)
        possible = self.condition.possible(own)
        noise = at_positions(positions, seed, lambda draws, n: _uniform(draws, n, possible))
        return items.but(target=self.condition.changed(own, chosen(possible, noise.noise)))

    def edit(self, items: Items, choice: int) -> Items:
        """What the generator is fed to change one attribute, or to make all of one class.

        Items of which that is not possible are asked for as they are.
        """
        own = self.condition.of(items)
        is_possible = self.condition.possible(own)[:, choice]
        choices = torch.full((items.count,), choice, device=own.device)
        target = self.condition.changed(own, choices)
        return items.but(target=_where(is_possible, target, own))


class LocalEdits(FromImages):
    """Images with a hole, and the attributes that they shall have once it is filled.

    The target differs from the attributes of the image only in what the hole's region may change.
    In training it has those of another image of the batch there, or one change if they are the
    same; a share of the images is to be filled in as it was. What is shown differs in exactly one
    attribute where the hole may change any.

    Args:
        condition: attributes, and where they show.
        holes: where holes are.
        reconstructed: share of the images that are to be as they were.
    """

    condition: Edits

    def __init__(self, condition: Edits, holes: Holes, reconstructed: float = 0.5) -> None:
        super().__init__(condition)
        self.holes, self.reconstructed = holes, reconstructed

    def inputs(self, draws: Draws, n: int, reals: Sequence[Items]) -> Items:
        """The reals with ``region``, ``mask`` and ``target``."""
        real, condition = reals[0], self.condition
        own = condition.of(real)
        others = of_all_ranks(own)[draws.permutation(n)]
        allowed = self.holes.allowed(condition).to(own.device)
        has_holes = allowed.any(1).expand(n, -1)
        region = chosen(has_holes, draws.uniform(n, len(allowed)))
        may = allowed[region]
        possible = condition.possible(own, may)
        flipped = condition.changed(own, chosen(possible, draws.uniform(n, own.shape[1])))
        target = condition.consistent(torch.where(may, others, own), own)
        same = (target == own).all(1)
        target = _where(same & possible.any(1), flipped, target)
        target = _where(draws.uniform(n) < self.reconstructed, own, target)
        noise = draws.uniform(n, self.holes.numbers)
        mask = self.holes.masks(real, region, noise, jitter=True)
        return real.but(target=target, region=region, mask=mask)

    def shown(self, positions: range, seed: int, data: Any = None) -> Items:
        """Held-out items with ``region``, ``mask`` and ``target``; no hole moves or grows."""
        items = self.held_out_at(positions, data)
        possible = self._possible(self.condition.of(items))
        drawn = at_positions(
            positions,
            seed,
            lambda draws, n: Items(
                choice=draws.uniform(n, possible.shape[2]),
                region=draws.uniform(n, possible.shape[1]),
                hole=draws.uniform(n, self.holes.numbers),
            ),
        )
        return self._asked_of(items, chosen(possible.any(1), drawn.choice), drawn)

    def edit(self, items: Items, choice: int) -> Items:
        """What the generator is fed to change one attribute, in the first region that may.

        Items of which that is not possible are asked for as they are.
        """
        n, device = items.count, items.image.device
        choices = torch.full((n,), choice, device=device)
        first = -torch.arange(len(self.holes.allowed(self.condition)), device=device) / 1000.0
        noise = Draws(choice, "edit", device=device).uniform(1, self.holes.numbers)
        drawn = Items(region=first.expand(n, -1), hole=noise.expand(n, -1))
        return self._asked_of(items, choices, drawn)

    def feed(self, generator: nn.Module, inputs: Items) -> Tensor:
        """The image with its hole filled."""
        return generator(inputs.image, inputs.target, inputs.mask)

    def _possible(self, own: Tensor) -> Tensor:
        """Whether each region can change each attribute alone: bool (n, R, A)."""
        allowed = self.holes.allowed(self.condition).to(own.device)
        each = [self.condition.possible(own, may.expand(len(own), -1)) for may in allowed]
        return torch.stack(each, dim=1)

    def _asked_of(self, items: Items, choice: Tensor, drawn: Items) -> Items:
        own = self.condition.of(items)
        rows = torch.arange(len(own), device=own.device)
        possible = self._possible(own)[rows, :, choice]
        # Where no region can, the attribute is asked for as it is, in one where it shows.
        shows = self.holes.allowed(self.condition).to(own.device)[:, choice].T
        is_possible = possible.any(1)
        region = chosen(_where(is_possible, possible, shows), drawn.region)
        target = _where(is_possible, self.condition.changed(own, choice), own)
        mask = self.holes.masks(items, region, drawn.hole, jitter=False)
        return items.but(target=target, region=region, mask=mask)


def _uniform(draws: Draws, n: int, possible: Tensor) -> Items:
    return Items(noise=draws.uniform(n, possible.shape[1]))


def _where(rows: Tensor, ours: Tensor, others: Tensor) -> Tensor:
    """Those of our rows where a bool (n,) is true, and of the others elsewhere."""
    return torch.where(rows.view(-1, *[1] * (ours.ndim - 1)), ours, others)
