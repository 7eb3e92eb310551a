"""A judge of the data at hand: a classifier that is trained on them once, when it is needed."""

import logging
from pathlib import Path
from typing import Any

import torch

from saddlepoint.atomic import one_process_at_a_time
from saddlepoint.extractors.classifier_stage import find_or_train
from saddlepoint.extractors.extractor import Progress
from saddlepoint.extractors.trained_classifier import TrainedClassifier
from saddlepoint.extractors.training_options import TrainingOptions
from saddlepoint.schema import Count, Natural, checked

log = logging.getLogger(__name__)


class DataClassifier(TrainedClassifier):
    """A classifier of the classes and attributes of the very data that are scored.

    It is trained on their training images before anything is scored, independently of what it shall
    judge, and kept in a file under the fingerprint of all it depends on: the next run finds it.

    Args:
        folder: where such files are kept.
        epochs: times that each training image is shown; None shows 450,000 in all, and none more
            than 40 times.
        seed: key of the training.
    """

    @checked
    def __init__(
        self, folder: str | Path, *, epochs: Count | None = None, seed: Natural = 0
    ) -> None:
        super().__init__("")
        self.folder = Path(folder).expanduser()
        self.options = TrainingOptions(seed=seed, epochs=epochs)

    @property
    def name(self) -> str:
        """``classifier-`` and the data it is trained on, once they are known."""
        return super().name if self.weights else "data-classifier"

    def check(self) -> None:
        """Nothing can be missing."""

    def gives_logits(self) -> bool:
        """See `Extractor.gives_logits`; before it is trained, that it will."""
        return super().gives_logits() if self.weights else True

    def suit(self, data: Any, progress: Progress | None = None) -> None:
        """Find the classifier of these data, with all their classes, or train it.

        Raises:
            UserError: the data have nothing to tell, or the file cannot be written.
        """
        if self.weights:
            return
        # Training must leave alone the random numbers of whoever asks for a score.
        lock = self.folder / f"{data.whole.name}.lock"
        with one_process_at_a_time(lock), torch.random.fork_rng():
            self.weights = find_or_train(data.whole, self.options, self.folder, progress)
        shares = self.content["accuracy"]
        told = ", ".join(f"{task} {share:.1%}" for task, share in shares.items())
        log.info("%s is right on images kept from it: %s", self.name, told)
