"""What an evaluation gives: values, what they mean, which way they are better, and which rank."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.metric import Metric
from saddlepoint.evaluation.protocol import Protocol


@dataclass(frozen=True)
class Scores:
    """Scores of one generator.

    Attributes:
        means: {name: mean over evaluation seeds}.
        by_seed: {name: values in the order of the protocol's seeds}.
        protocol: what they mean.
        directions: {name: "smaller" or "larger"}, whichever is better; spreads have none.
        ranking: names of those that runs are ranked by.
        baselines: the same of trivial ways to do it, by their names, see `evaluation.baselines`.
    """

    means: dict[str, float]
    by_seed: dict[str, list[float]] = field(default_factory=dict)
    protocol: Protocol | None = None
    directions: dict[str, str] = field(default_factory=dict)
    ranking: tuple[str, ...] = ()
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass
class Evaluation:
    """Values under one seed, by the names that records have."""

    values: dict[str, float] = field(default_factory=dict)
    directions: dict[str, str] = field(default_factory=dict)
    _may_rank: list[str] = field(default_factory=list)
    _leads: list[str] = field(default_factory=list)

    @property
    def ranking(self) -> tuple[str, ...]:
        """Scores that rank: all of metrics that lead; without one, the first that may."""
        return tuple(self._leads or self._may_rank[:1])

    def add(
        self,
        metric: Metric,
        values: Mapping[str, float],
        name_of: Callable[[str], str] = lambda value: value,
    ) -> None:
        """Add what a metric has computed; ``name_of`` puts the extractor's name to that of a value.

        Raises:
            UserError: the metric does not say which way a value is better.
        """
        for value, number in values.items():
            name = name_of(value)
            self.values[name] = number
            try:
                direction = metric.direction(value)
            except KeyError:
                raise UserError(
                    f"The metric {metric.name} gives {value} and does not say which way it is"
                    " better: put it into its directions (None for what is no score)."
                ) from None
            if direction is not None:
                self.directions[name] = direction
            if metric.may_rank(value):
                self._may_rank.append(name)
                self._leads += [name] * metric.leads
