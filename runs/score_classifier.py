"""The classifier that scores need, as a stage: trained on the run's data, once for all runs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from saddlepoint.datamodules.base import DataModule
from saddlepoint.errors import UserError
from saddlepoint.extractors.classifier_stage import depends_on, trained
from saddlepoint.extractors.classifier_training import Lesson, TrainingOptions
from saddlepoint.extractors.trained_classifier import (
    build_classifier,
    read_classifier,
    write_classifier,
)
from saddlepoint.fingerprint import fingerprint
from saddlepoint.runs.artifact import Artifact
from saddlepoint.runs.stages import Progress, Stage
from saddlepoint.schema import Count, Size, checked


class ScoreClassifier(Stage):
    """What ``python train_extractor.py`` makes of the run's data, made by the run that needs it.

    Args:
        file: where it is put for the protocol, which names the same as its ``weights``.
        epochs: times that each training image is shown; None for the usual number.
        width: channels at full resolution.
    """

    @checked
    def __init__(self, file: str, epochs: Count | None = None, width: Size = 16) -> None:
        self.file = Path(file)
        self.options = TrainingOptions(epochs=epochs, width=width)

    def fingerprint(self, data: DataModule, earlier: Mapping[str, Artifact]) -> str:
        """By images, labels and options."""
        _, options = self._lesson(data)
        return fingerprint(depends_on(data, options))

    def make(
        self, data: DataModule, earlier: Mapping[str, Artifact], progress: Progress
    ) -> dict[str, Any]:
        """Train it."""
        lesson, options = self._lesson(data)
        network, content = trained(lesson, data, options, lambda sentence: None, progress)
        return {**content, "state": network.state_dict()}

    def join(self, data: DataModule, artifact: Artifact) -> DataModule:
        """Put it where the protocol looks, unless it is there."""
        if not self._holds(artifact):
            content = dict(artifact.content)
            with torch.device("meta"):
                network = build_classifier(content["architecture"])
            network.load_state_dict(content.pop("state"), assign=True)
            write_classifier(self.file, network, content)
        return data

    def _holds(self, artifact: Artifact) -> bool:
        try:
            return read_classifier(self.file).get("fingerprint") == artifact.fingerprint
        except UserError:
            return False

    def _lesson(self, data: DataModule) -> tuple[Lesson, TrainingOptions]:
        lesson = Lesson(data, self.options)
        return lesson, replace(self.options, epochs=self.options.epochs or lesson.usual_epochs())
