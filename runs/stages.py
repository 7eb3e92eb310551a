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
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from saddlepoint.atomic import one_process_at_a_time
from saddlepoint.datamodules.base import DataModule
from saddlepoint.errors import UserError
from saddlepoint.runs.artifact import Artifact, path_of, read, write
from saddlepoint.runs.progress import progress

FOLDER = "artifacts"  # of the output folder

#: Told how far a stage has come: what it does, how much is done, and how much there is to do.
Progress = Callable[[str, int, int], None]


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
            progress: wants to be told how far it has come.
        """

    def join(self, data: DataModule, artifact: Artifact) -> DataModule:
        """Return the data as the next stage and the game see them: as they are, by default."""
        return data


def after_stages(
    settings: DictConfig | None,
    data: DataModule,
    folder: Path,
    say: Callable[[str], None] = lambda sentence: None,
) -> DataModule:
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
    for name, stage in (settings or {}).items():
        stage = instantiate(stage, _convert_="all")
        if not isinstance(stage, Stage):
            raise UserError(
                f"stages.{name} is no stage: let its _target_ be a subclass of"
                " saddlepoint.runs.stages.Stage."
            )
        earlier[name] = _find_or_make(name, stage, data, earlier, folder, say)
        data = stage.join(data, earlier[name])
    return data


def _find_or_make(
    name: str,
    stage: Stage,
    data: DataModule,
    earlier: Mapping[str, Artifact],
    folder: Path,
    say: Callable[[str], None],
) -> Artifact:
    fingerprint = stage.fingerprint(data, earlier)
    path = path_of(folder, name, fingerprint)
    with one_process_at_a_time(path.with_suffix(".lock")):
        found = read(path, name, fingerprint)
        if found is not None:
            say(f"stage {name}: found in {path}")
            return found
        start = time.monotonic()
        with progress() as tell:
            artifact = Artifact(name, fingerprint, stage.make(data, earlier, tell))
        write(path, artifact)
        say(f"stage {name}: made in {time.monotonic() - start:.1f} s, in {path}")
    return artifact
