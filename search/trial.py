"""One point of a search, and what became of it."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from saddlepoint.search.space import Values

#: A trial is one of these. An interrupted one counts for nothing: its point is tried once more.
RUNNING, COMPLETE, FAILED, INTERRUPTED = "running", "complete", "failed", "interrupted"


@dataclass
class Trial:
    """One point, tried once.

    Attributes:
        number: counts trials from 0, interrupted ones too.
        values: by setting, as on the command line.
        state: running, complete, failed or interrupted.
        score: mean over the seeds.
        spread: standard deviation over the seeds; 0 with one.
        scores: of each seed.
        sentence: why it failed; of an interrupted one, that it was told to end, if it was.
    """

    number: int
    values: Values
    state: str = RUNNING
    score: float | None = None
    spread: float = 0.0
    scores: list[float] = field(default_factory=list)
    sentence: str | None = None

    @property
    def counts(self) -> bool:
        """Whether it is over, well or badly."""
        return self.state in (COMPLETE, FAILED)

    @property
    def failed(self) -> bool:
        """Whether it is over without a score."""
        return self.state == FAILED

    @property
    def overrides(self) -> list[str]:
        """What it adds to a command line."""
        return [f"{key}={value}" for key, value in self.values.items()]

    def complete(self, scores: Sequence[float]) -> None:
        """Take the scores of all seeds."""
        self.state, self.scores = COMPLETE, [float(score) for score in scores]
        self.score = statistics.fmean(self.scores)
        self.spread = statistics.stdev(self.scores) if len(self.scores) > 1 else 0.0

    def fail(self, sentence: str) -> None:
        """Take the reason why it has no score."""
        self.state, self.sentence = FAILED, sentence

    def stop(self) -> None:
        """Take note that a signal, or a mistake in the command, ended the sweep."""
        self.state, self.sentence = INTERRUPTED, "stopped"

    def plain(self) -> dict[str, Any]:
        """Plain values; `Trial(**plain)` is the trial."""
        return asdict(self)
