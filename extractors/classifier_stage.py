"""A classifier of the data at hand as an artifact: trained once, and found again by fingerprint."""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from saddlepoint.datamodules.base import DataModule
from saddlepoint.errors import UserError
from saddlepoint.extractors.classifier_training import (
    Lesson,
    Progress,
    TrainingOptions,
    accuracy,
    train_classifier,
)
from saddlepoint.extractors.trained_classifier import (
    FORMAT,
    SUFFIX,
    VERSION,
    TrainedClassifier,
    write_classifier,
)
from saddlepoint.fingerprint import fingerprint

log = logging.getLogger(__name__)


def find_or_train(
    data: DataModule, options: TrainingOptions, folder: Path, progress: Progress | None = None
) -> Path:
    """The file of a classifier of these data; trained if there is none that these options made.

    Its name holds the fingerprint of all that it depends on. A file that is damaged, or not what
    its name says, is replaced.

    Args:
        data: images with classes or attributes.
        options: how to train.
        folder: where such files are kept.
        progress: told how far training has come.

    Raises:
        UserError: the data have nothing to tell, or the file cannot be written.
    """
    lesson = Lesson(data, options)
    options = replace(options, epochs=options.epochs or lesson.usual_epochs())
    mark = fingerprint(depends_on(data, options))
    path = Path(folder) / f"{data.spec.name}-{mark}{SUFFIX}"
    if path.exists():
        found = TrainedClassifier(path)
        try:
            found.load()
            if found.content.get("fingerprint") == mark:
                return path
        except UserError as error:
            log.warning("%s", error)
    network, content = trained(lesson, data, options, log.info, progress)
    write_classifier(path, network, content)
    return path


def depends_on(data: DataModule, options: TrainingOptions) -> dict[str, Any]:
    """All that a trained classifier depends on, as plain values; ``options`` know their epochs."""
    spec = data.spec
    return {
        "format": [FORMAT, VERSION],
        "images": spec.digest,
        "annotations": spec.annotations,
        "classes": list(spec.classes),
        "attributes": list(spec.attributes),
        "options": asdict(options),
    }


def trained(
    lesson: Lesson,
    data: DataModule,
    options: TrainingOptions,
    report: Callable[[str], None],
    progress: Progress | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Train a classifier; return it, and what its file says of it.

    Args:
        lesson: what there is to tell in the data.
        data: the data.
        options: how to train, with a number of epochs.
        report: told in sentences how it goes.
        progress: told how far it has come.
    """
    spec = data.spec
    report(f"{spec.name}: {len(lesson.training):,} images to learn, {len(lesson.test):,} to test")
    start = time.monotonic()
    network = train_classifier(lesson, options, report, progress)
    shares = accuracy(network, lesson)
    for task, share in shares.items():
        report(f"{task:<16} {share:7.2%} of the held-out images are told rightly")
    report(f"trained in {time.monotonic() - start:.0f} s")
    return network, {
        "architecture": lesson.architecture(options.width),
        "data": {
            "name": spec.name,
            "digest": spec.digest,
            "classes": list(spec.classes),
            "attributes": list(spec.attributes),
        },
        "accuracy": shares,
        "training": asdict(options),
        "fingerprint": fingerprint(depends_on(data, options)),
    }
