"""How a run ended: one small file in its folder says so, in a sentence and a few values.

    finished.txt  nothing is left to do, the last scores included
    stopped.txt   a signal ended it early
    failed.txt    it was refused, has diverged, ran out of memory or was killed

A run that has none of them is going on, or its process was killed.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from saddlepoint.atomic import write_text
from saddlepoint.records.objective import Objective

State = Literal["finished", "stopped", "failed"]
FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"
FILES = {state: f"{state}.txt" for state in (FINISHED, STOPPED, FAILED)}
#: Characters that are read of a file.
LONGEST = 10_000


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        state: in a word.
        sentence: what there is to say of it, the cause where it failed.
        score: its last, where it has finished and something scores, and what score that is.
        seconds: wall-clock spent on it; None if not known.
    """

    state: State
    sentence: str
    score: Objective | None = None
    seconds: float | None = None


def write(folder: Path, ending: Ending) -> None:
    """Write down how a run ended, in place of how it ended before.

    Raises:
        UnwritableError: it cannot be written.
    """
    lines = [" ".join(ending.sentence.split())]
    if (score := ending.score) is not None:
        lines += [f"score {score!r}", f"name {score.name}", f"direction {score.direction}"]
    lines += [] if ending.seconds is None else [f"seconds {ending.seconds:.3f}"]
    write_text(folder / FILES[ending.state], "\n".join(lines) + "\n")
    forget(folder, but=ending.state)


def read(folder: Path) -> Ending | None:
    """How a run ended; None if nothing says so. Nothing in the file is trusted."""
    for state, name in FILES.items():
        path = folder / name
        if not path.is_file():
            continue
        with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
            sentence, *lines = file.read(LONGEST).splitlines() or [""]
            values = dict(line.split(" ", 1) for line in lines if " " in line)
            score = _number(values.get("score"))
            if score is not None:
                score = Objective(score, values.get("name", ""), values.get("direction", ""))
            return Ending(state, sentence, score, _number(values.get("seconds")))
    return None


def _number(text: str | None) -> float | None:
    with contextlib.suppress(TypeError, ValueError):
        return float(text)
    return None


def forget(folder: Path, but: State | None = None) -> None:
    """Let a run be one that is going on."""
    for state, name in FILES.items():
        if state != but:
            (folder / name).unlink(missing_ok=True)
