"""A sweep's folder: its points, and the list of them that is read off their folders."""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from saddlepoint.atomic import one_process_at_a_time, write_text
from saddlepoint.errors import UserError
from saddlepoint.records import ending
from saddlepoint.records.ending import FAILED, Ending
from saddlepoint.runs import lock

LIST = "points.csv"
WAITING, RUNNING = "waiting", "running"
#: Of a point whose process has left nothing but its lock.
KILLED = Ending(
    FAILED, "killed: its process ended without a word (SIGKILL, memory used up, power cut)"
)


class OtherPointError(UserError):
    """A point's folder is that of another point; it was left as it is."""


@dataclass(frozen=True)
class Point:
    """A point as its folder has it.

    Attributes:
        folder: its name says what it is.
        state: waiting, running, finished, stopped or failed.
        ending: how it ended; None while it waits or runs.
    """

    folder: Path
    state: str
    ending: Ending | None = None

    @property
    def name(self) -> str:
        """What it is."""
        return self.folder.name


class Sweep:
    """A sweep by its folder; there is no other truth about it.

    A point is a folder with a lock file: empty as long as the point waits, held as long as it runs.

    Args:
        folder: the sweep's own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def reserve(self, name: str) -> Path:
        """Make a point's folder, or find it.

        Raises:
            UserError: it cannot be made.
        """
        point = self.folder / name
        try:
            point.mkdir(parents=True, exist_ok=True)
            (point / lock.NAME).touch()
        except OSError as error:
            raise UserError(
                f"{point} cannot be made ({error.strerror}): choose another output_dir."
            ) from error
        return point

    def points(self) -> list[Point]:
        """All points, by name."""
        found = [path.parent for path in self.folder.glob(f"*/{lock.NAME}")]
        return [_point(folder) for folder in sorted(found, key=_numbers_by_size)]

    def write_list(self) -> None:
        """Write the list of the points as they are now.

        Raises:
            UserError: it cannot be written.
        """
        with one_process_at_a_time(self.folder / f".{LIST}.lock"):
            text = io.StringIO(newline="")
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(["point", "state", "score", "seconds", "error"])
            writer.writerows(map(_row, self.points()))
            write_text(self.folder / LIST, text.getvalue(), make_folder=False)

    def count(self) -> str:
        """How many points are in which state, in words."""
        counts = Counter(point.state for point in self.points())
        return ", ".join(f"{number} {state}" for state, number in counts.most_common())


def state_of_killed(folder: Path) -> Ending | None:
    """What there is to say of a point that nobody plays and that does not say how it ended."""
    return KILLED if lock.holder(folder) else None


def _point(folder: Path) -> Point:
    if lock.is_held(folder):
        return Point(folder, RUNNING)
    found = ending.read(folder) or state_of_killed(folder)
    return Point(folder, found.state if found else WAITING, found)


def _row(point: Point) -> list[str]:
    end = point.ending
    if end is None:
        return [point.name, point.state, "", "", ""]
    score = "" if end.score is None else repr(end.score)
    seconds = "" if end.seconds is None else f"{end.seconds:.3f}"
    return [point.name, point.state, score, seconds, end.sentence * (end.state != ending.FINISHED)]


def _numbers_by_size(folder: Path) -> list[tuple[bool, int, str]]:
    """Key that sorts seed-10 after seed-9."""
    parts = re.split(r"(\d+)", folder.name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
