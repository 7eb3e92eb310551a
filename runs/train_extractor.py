"""Train a small classifier on labelled images; its features and class probabilities then score.

Writes one file with the weights, what they were trained on, and their accuracy on images that were
held out.
"""

from dataclasses import fields, replace
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from saddlepoint.errors import UserError
from saddlepoint.extractors.classifier_stage import trained
from saddlepoint.extractors.classifier_training import Lesson, TrainingOptions
from saddlepoint.extractors.trained_classifier import SUFFIX, write_classifier
from saddlepoint.runs.progress import output, progress
from saddlepoint.runs.settings import check_settings


def train_extractor(config: DictConfig) -> Path:
    """Train a classifier on the data of composed settings; return its file.

    Raises:
        UserError: the data are missing or have nothing to tell, or the settings make no training.
    """
    # Whatever can be wrong is found before the training.
    check_settings(config, "train_extractor")
    options = TrainingOptions(
        **{field.name: config[field.name] for field in fields(TrainingOptions)}
    )
    data = instantiate(config.datamodule, _convert_="all")
    lesson, spec = Lesson(data, options), data.spec
    options = replace(options, epochs=options.epochs or lesson.usual_epochs())
    path = Path(config.output or f"classifiers/{spec.name}{SUFFIX}")
    if path.suffix != SUFFIX or path.exists():
        cause = "is there already" if path.exists() else f"does not end in {SUFFIX}"
        raise UserError(f"The file {path} {cause}: choose another output.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error}): choose another output.") from error

    report = partial(output().print, soft_wrap=True)
    with progress() as tell:
        network, content = trained(lesson, data, options, report, tell)
    write_classifier(path, network, content)
    report(str(path))
    return path
