"""What a search knows: its space, its trials, and which way their score is better."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saddlepoint.errors import UserError
from saddlepoint.records.record import LARGER, SMALLER
from saddlepoint.records.settings import HARMLESS, is_under
from saddlepoint.search.space import Space, Values
from saddlepoint.search.trial import COMPLETE, FAILED, INTERRUPTED, RUNNING, Trial

#: Settings that leave a training as it is, but not its score.
SCORING = ("monitor", "protocol", "metrics", "score_every")
#: How often a point may be killed, together with the process that searches, before it counts as
#: failed: with a point that kills that process a search would never end.
TRIES = 3


@dataclass(frozen=True)
class Search:
    """What is searched and how points are compared; a study keeps to it when it is resumed.

    Attributes:
        space: what is searched.
        fixed: overrides that all points share.
        folder: of the sweep.
        seed: of all that a study draws.
        seeds: runs of a point.
        spread_weight: of the spread over seeds in a point's cost.
        direction: "smaller" or "larger", whichever score is better; None: the scores say so.
    """

    space: Space
    fixed: tuple[str, ...] = ()
    folder: Path = Path()
    seed: int = 0
    seeds: int = 1
    spread_weight: float = 0.0
    direction: str | None = None

    def description(self) -> dict[str, Any]:
        """Plain values that a resumed study must share; where and how runs go may change."""
        return {
            "space": self.space.description(),
            "fixed": sorted(word for word in self.fixed if not _is_harmless(word)),
            "seeds": self.seeds,
            "spread_weight": self.spread_weight,
        }


@dataclass
class Goal:
    """What the score is, once a run has said so.

    Attributes:
        name: of the score.
        direction: "smaller" or "larger", whichever is better.
    """

    name: str = ""
    direction: str | None = None


class Study(ABC):
    """Trials that are kept, and the next points to try.

    Args:
        search: what is searched.
    """

    def __init__(self, search: Search) -> None:
        self.search = search
        self.goal = Goal(direction=search.direction)

    @property
    @abstractmethod
    def trials(self) -> list[Trial]:
        """All so far, in the order of their numbers."""

    @abstractmethod
    def ask(self, count: int) -> list[Trial]:
        """Begin trials, and keep that they are running.

        Returns:
            As many as wanted, or fewer where the space has no more points.
        """

    @abstractmethod
    def tell(self, trial: Trial) -> None:
        """Keep what became of a trial."""

    @abstractmethod
    def keep_goal(self) -> None:
        """Keep what the score is."""

    def aim(self, name: str, direction: str | None) -> None:
        """Learn from a score what it is.

        Args:
            name: of the score, or an empty text.
            direction: "smaller", "larger", or None where the score does not say.

        Raises:
            UserError: nobody says which way it is better, or it is another score than before.
        """
        known = self.goal
        if known.name and name and known.name != name:
            raise UserError(
                f"A point has the score {name}, and others {known.name}: choose protocols whose"
                " first score is the same for all."
            )
        direction = self.search.direction or direction or known.direction
        if direction not in (SMALLER, LARGER):
            raise UserError(
                "The score does not say which way it is better: add"
                " hydra.sweeper.direction=minimize, or maximize."
            )
        goal = Goal(name or known.name, direction)
        if goal != known:
            self.goal = goal
            self.keep_goal()

    def take_up(self, goal: Goal) -> None:
        """Know the goal of an earlier process.

        Raises:
            UserError: a setting says that the other direction is better.
        """
        if None not in (goal.direction, self.search.direction) and goal != Goal(
            goal.name, self.search.direction
        ):
            raise UserError(
                f"The trials in {self.search.folder} were compared the other way round: leave"
                " hydra.sweeper.direction as it was, or choose another sweep_name."
            )
        self.goal = goal if goal.direction is not None else self.goal

    def cost(self, trial: Trial) -> float:
        """Of a complete trial: less is better."""
        sign = -1.0 if self.goal.direction == LARGER else 1.0
        return sign * trial.score + self.search.spread_weight * trial.spread

    @property
    def finished(self) -> int:
        """Trials that are over."""
        return sum(trial.counts for trial in self.trials)

    @property
    def best(self) -> Trial | None:
        """The complete trial of the least cost, the first of equals."""
        complete = [trial for trial in self.trials if trial.state == COMPLETE]
        return min(complete, key=self.cost, default=None)

    def interrupted(self) -> list[Values]:
        """Points whose last trial was interrupted."""
        last = {tuple(t.values.items()): t for t in self.trials}
        return [trial.values for trial in last.values() if trial.state == INTERRUPTED]

    def give_up_running(self) -> None:
        """Tell the trials that another process left running that they were interrupted."""
        for trial in [trial for trial in self.trials if trial.state == RUNNING]:
            killed = [t for t in self.trials if t.state == INTERRUPTED and not t.sentence]
            if sum(t.values == trial.values for t in killed) + 1 < TRIES:
                trial.state = INTERRUPTED
            else:
                trial.state = FAILED
                trial.sentence = f"The sweep was killed during this point, {TRIES} times."
            self.tell(trial)


def refuse_another(kept: dict[str, Any], search: Search) -> None:
    """Refuse to go on with a study of something else.

    Raises:
        UserError: names what differs.
    """
    now = search.description()
    for name in now:
        if kept.get(name) != now[name]:
            raise UserError(
                f"The sweep in {search.folder} searched with another {_WORDS[name]}"
                f" ({_short(kept.get(name))}; now {_short(now[name])}): give the same command, or"
                " another folder by sweep_name=..."
            )


def _is_harmless(word: str) -> bool:
    key = word.partition("=")[0].lstrip("+~")
    return is_under(key, HARMLESS) and not is_under(key, SCORING)


_WORDS = {
    "space": "space",
    "fixed": "command line",
    "seeds": "number of seeds a point",
    "spread_weight": "weight of the spread",
}


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "; ".join(_parameter(fields) for fields in value)
    return " ".join(map(str, value)) if isinstance(value, Sequence) else str(value)


def _parameter(fields: dict[str, Any]) -> str:
    if "values" in fields:
        return f"{fields['key']}={','.join(fields['values'])}"
    kind = "log " * fields["log"] + "whole " * fields["whole"]
    return f"{fields['key']} {kind}{fields['low']:g} to {fields['high']:g}"
