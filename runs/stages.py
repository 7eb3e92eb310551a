"""What must exist before a method trains: made once, found again by its fingerprint.

A method names its stages in its YAML, in their order:

    stages:
      bank:
        _target_: saddlepoint.runs.feature_bank.FeatureBank
      clusters:
        _target_: my_package.Clusters
        k: 100

`train.py` finds each one's artifact under ``{output_dir}/artifacts`` or makes it, and lets the
stage join it to the data that the next stage and the game see.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image

from saddlepoint.atomic import one_process_at_a_time
from saddlepoint.datamodules.base import DataModule
from saddlepoint.errors import UserError
from saddlepoint.runs.artifact import Artifact, path_of, read, write
from saddlepoint.runs.pictures import save
from saddlepoint.runs.progress import progress

FOLDER = "artifacts"  # of the output folder
REPORT = "report"  # what an artifact's content may hold: {name: number}, for people and records


@dataclass(frozen=True)
class Progress:
    """How far a stage has come: told to whoever watches, and kept for one that is cut off.

    Attributes:
        tell: what it does, how much is done, and how much there is to do.
        partial: what is kept lies there, and is nobody's any more once the stage is done.
        name: of the stage.
        fingerprint: of what it makes.
    """

    tell: Callable[[str, int, int], None] = lambda *_: None
    partial: Path | None = None
    name: str = ""
    fingerprint: str = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Tell it."""
        self.tell(what, done, total)

    def keep(self, content: dict[str, Any]) -> None:
        """Write down what the stage goes on from if it is cut off from now on.

        Raises:
            UserError: it cannot be written.
        """
        if self.partial is not None:
            write(self.partial, Artifact(self.name, self.fingerprint, content))

    def left(self) -> dict[str, Any] | None:
        """What a stage that was cut off has kept; None to begin."""
        if self.partial is None:
            return None
        found = read(self.partial, self.name, self.fingerprint)
        return None if found is None else found.content


class Prepared(NamedTuple):
    """What a run begins with.

    Attributes:
        data: as the stages have joined them.
        reports: what the stages say of what they have made, by their names.
    """

    data: DataModule
    reports: dict[str, dict[str, float]]


class Stage(ABC):
    """One thing that must exist before a method trains: a bank of features, a clustering, ..."""

    @abstractmethod
    def fingerprint(self, data: DataModule, earlier: Mapping[str, Artifact]) -> str:
        """Identify what `make` would return, by all it depends on; see `fingerprint.fingerprint`.

        That is settings, digests of data, fingerprints of earlier artifacts, and a number of the
        definition, raised when the same would come out otherwise.

        Args:
            data: as the stages before have joined them.
            earlier: what they have made, by name.
        """

    @abstractmethod
    def make(
        self, data: DataModule, earlier: Mapping[str, Artifact], progress: Progress
    ) -> dict[str, Any]:
        """Make the artifact's content: tensors and plain values by name.

        Its random numbers, if any, are keyed by settings of the stage, never by the run.

        Args:
            data: as the stages before have joined them.
            earlier: what they have made, by name.
            progress: wants to be told how far it has come; a long stage keeps its state there.
        """

    def picture(self, data: DataModule, artifact: Artifact) -> Image.Image | None:
        """Show what was made; by default there is nothing to see.

        Args:
            data: as `join` returns them.
            artifact: what was made.
        """
        return None

    def join(self, data: DataModule, artifact: Artifact) -> DataModule:
        """Return the data as the next stage and the game see them: as they are, by default."""
        return data


def after_stages(
    settings: DictConfig | None,
    data: DataModule,
    folder: Path,
    say: Callable[[str], None] = lambda sentence: None,
) -> Prepared:
    """Find or make what a method needs, and return the data with all of it joined.

    Args:
        settings: {name: settings of a `Stage`}.
        data: of the run.
        folder: where artifacts lie.
        say: is told what was found and what was made.

    Raises:
        UserError: a stage is none, or an artifact cannot be written.
    """
    earlier: dict[str, Artifact] = {}
    reports: dict[str, dict[str, float]] = {}
    for name, stage in (settings or {}).items():
        stage = instantiate(stage, _convert_="all")
        if not isinstance(stage, Stage):
            raise UserError(
                f"stages.{name} is no stage: let its _target_ be a subclass of"
                " saddlepoint.runs.stages.Stage."
            )
        artifact, path = _find_or_make(name, stage, data, earlier, folder, say)
        earlier[name] = artifact
        data = stage.join(data, artifact)
        if report := artifact.content.get(REPORT):
            reports[name] = report
            say(", ".join(f"{what} {value:.4g}" for what, value in report.items()))
        picture = path.with_suffix(".png")
        if not picture.exists() and (shown := stage.picture(data, artifact)) is not None:
            save(shown, picture)
    return Prepared(data, reports)


def _find_or_make(
    name: str,
    stage: Stage,
    data: DataModule,
    earlier: Mapping[str, Artifact],
    folder: Path,
    say: Callable[[str], None],
) -> tuple[Artifact, Path]:
    """The artifact, and where it lies."""
    fingerprint = stage.fingerprint(data, earlier)
    path = path_of(folder, name, fingerprint)
    with one_process_at_a_time(path.with_suffix(".lock")):
        found = read(path, name, fingerprint)
        if found is not None:
            say(f"stage {name}: found in {path}")
            return found, path
        start, partial = time.monotonic(), path.with_suffix(".partial.pt")
        with progress() as tell:
            told = Progress(tell, partial, name, fingerprint)
            artifact = Artifact(name, fingerprint, stage.make(data, earlier, told))
        write(path, artifact)
        partial.unlink(missing_ok=True)
        say(f"stage {name}: made in {time.monotonic() - start:.1f} s, in {path}")
    return artifact, path
