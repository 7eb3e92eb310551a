"""Episodes: some items, and for each a few examples of a class that it shall become.

An episode is a pure function of the seed and its iteration, as everything in `datamodules.order`.
"""

import torch
from torch import Tensor

from saddlepoint.datamodules.order import Order, Plan, queued, share_of_rank
from saddlepoint.items import Items
from saddlepoint.randomness import keyed_generator


def without_repetition(chances: Tensor, counts: Tensor) -> Tensor:
    """Draw K different numbers below a count, in each of n rows.

    The first k of K numbers are those that k chances alone would give.

    Args:
        chances: (n, K) in [0, 1).
        counts: (n,) int64, each at least K.

    Returns:
        (n, K) int64.
    """
    drawn: list[Tensor] = []
    for k, chance in enumerate(chances.double().unbind(1)):
        left = counts - k
        number = torch.minimum((chance * left).long(), left - 1)
        # It counts those that are left: step over the earlier ones, from the smallest on.
        for earlier in torch.stack(drawn).sort(0).values if drawn else ():
            number = number + (number >= earlier)
        drawn.append(number)
    return torch.stack(drawn, dim=1)


class ByClass:
    """Items of a data set by their class.

    Args:
        labels: (N,) int64.
        num_classes: classes are 0 .. num_classes - 1; some may have no items.

    Attributes:
        counts: items of each class, (num_classes,).
    """

    def __init__(self, labels: Tensor, num_classes: int) -> None:
        self.labels = labels
        self.counts = torch.bincount(labels, minlength=num_classes)
        self._sorted = labels.argsort(stable=True)
        self._starts = self.counts.cumsum(0) - self.counts

    def examples(self, classes: Tensor, chances: Tensor) -> Tensor:
        """Draw K different items (n, K) of classes (n,), by chances (n, K)."""
        places = without_repetition(chances, self.counts[classes])
        return self._sorted[self._starts[classes, None] + places]

    def any_class(self, chance: Tensor) -> Tensor:
        """Draw classes (n,), each as often as it has items, by chances (n,)."""
        return self.labels[self._sorted[self._scaled(chance, torch.tensor(len(self.labels)))]]

    def other_class(self, labels: Tensor, chance: Tensor) -> Tensor:
        """Draw classes (n,) other than these (n,), each as often as it has items."""
        place = self._scaled(chance, len(self.labels) - self.counts[labels])
        return self.labels[self._sorted[self._other(place, labels)]]

    def others(self, label: Tensor, chances: Tensor) -> Tensor:
        """Draw K different items (K,) that are not of a class (), by chances (K,)."""
        count = len(self.labels) - self.counts[label]
        places = without_repetition(chances[None], count[None])[0]
        return self._sorted[self._other(places, label)]

    def _other(self, places: Tensor, labels: Tensor) -> Tensor:
        """Places among all items of places among those of other classes."""
        return places + (places >= self._starts[labels]) * self.counts[labels]

    @staticmethod
    def _scaled(chance: Tensor, count: Tensor) -> Tensor:
        return torch.minimum((chance * count).long(), count - 1)


class EpisodicOrder(Order):
    """Looks up blocks of the stream, each item with the examples of its episode.

    Args:
        plan: what the run consumes.
        items: those to train on.
        shots: examples K of an episode.
        other_class: whether an item is never given examples of its own class.
        device: where the looked-up items are needed.
    """

    def __init__(
        self,
        plan: Plan,
        items: ByClass,
        *,
        shots: int = 1,
        other_class: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(plan, len(items.labels))
        self.items, self.shots, self.other_class = items, shots, other_class
        self._gathered_on = torch.device(device)

    def block(self, iteration: int) -> Tensor:
        """What this process's share of one iteration consists of.

        Returns:
            (2, (1 + K) n) int64 with n = block_size / world_size: item indices, and whether each is
            mirrored; n items, then the first example of each, the second of each, ...
        """
        plan = self.plan
        numbers = keyed_generator(plan.seed, "episodes", iteration)
        size = plan.block_size, 1 + self.shots
        chances = torch.rand(size, generator=numbers, dtype=torch.float64)
        items, examples = self.episodes(iteration, chances)
        chosen = torch.cat([items[:, None], examples], dim=1)
        flips = torch.zeros_like(chosen)
        if plan.flip:
            flips = torch.randint(0, 2, size, generator=numbers)
        block = torch.stack((chosen.T, flips.T))
        mine = share_of_rank(block, plan.batches_per_iteration, plan.rank, plan.world_size)
        return queued(mine.flatten(1), self._gathered_on)

    def episodes(self, iteration: int, chances: Tensor) -> tuple[Tensor, Tensor]:
        """Items (n,), those of `datamodules.order.Order`, and examples (n, K) for each.

        Args:
            iteration: of the block.
            chances: (n, 1 + K) in [0, 1).
        """
        items = self.whole_block(iteration)[0]
        if self.other_class:
            classes = self.items.other_class(self.items.labels[items], chances[:, 0])
        else:
            classes = self.items.any_class(chances[:, 0])
        return items, self.items.examples(classes, chances[:, 1:])


class TaskOrder(EpisodicOrder):
    """All items of an iteration share one task: one class, whose examples they divide among them.

    The class is drawn uniformly, the items among those of all other classes.
    """

    def episodes(self, iteration: int, chances: Tensor) -> tuple[Tensor, Tensor]:
        """See `EpisodicOrder.episodes`."""
        number = torch.rand((), generator=keyed_generator(self.plan.seed, "task", iteration))
        present = self.items.counts.nonzero()[:, 0]
        task = present[(number * len(present)).long().clamp(max=len(present) - 1)]
        items = self.items.others(task, chances[:, 0])
        examples = self.items.examples(task[None], chances[:, 1:].reshape(1, -1))
        return items, examples.view(len(items), -1)


def with_examples(reals: Items, shots: int) -> Items:
    """Give items their episodes.

    Args:
        reals: (1 + K) n items in the order of `EpisodicOrder.block`.
        shots: K.

    Returns:
        The n items with ``shots`` (n, K, *shape), and their class as ``target`` (n,).
    """
    count = reals.count // (1 + shots)
    examples = reals.image[count:].unflatten(0, (shots, count)).transpose(0, 1)
    target = reals.label[count : 2 * count]
    return reals.part(slice(count)).but(shots=examples, target=target)
