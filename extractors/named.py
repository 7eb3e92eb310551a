"""Extractors by name, as protocols have them."""

import difflib

import torch

from saddlepoint.errors import UserError
from saddlepoint.extractors.avatar_classifier import AvatarClassifier
from saddlepoint.extractors.extractor import Extractor
from saddlepoint.extractors.random_features import RandomFeatures
from saddlepoint.extractors.raw import RawValues

INCEPTION = "inception-v3-compat"
#: Those that come with the project and need no file.
OWN = {extractor.name: extractor for extractor in (RawValues, AvatarClassifier, RandomFeatures)}
TRAINED = "classifier"  # with its file as weights
SUITED = "data-classifier"  # trained when it is needed, with the folder of such files as weights
TRAINED_SUFFIX = ".pt"


def extractor_named(name: str, weights: str | None = None, download: bool = True) -> Extractor:
    """Make an extractor; what it needs is imported only then.

    Args:
        name: one of `names`, or the file of a classifier that ``train_extractor.py`` wrote.
        weights: file with its weights, where it takes one; None looks for them. Of data-classifier
            the folder where such files are kept.
        download: whether weights may be downloaded where none are found.

    Raises:
        UserError: no such extractor, or one that takes no weights.
    """
    if name == INCEPTION:
        from saddlepoint.extractors.inception import InceptionV3Compat

        return InceptionV3Compat(weights, download)
    if name == TRAINED:
        if weights is None:
            raise UserError(
                "The extractor classifier needs its file: train one with python train_extractor.py"
                " datamodule=..., and set weights= to it."
            )
        return _trained(weights)
    if name == SUITED:
        from saddlepoint.extractors.data_classifier import DataClassifier

        return DataClassifier(weights or SUITED)
    if name in OWN or name.endswith(TRAINED_SUFFIX):
        if weights is not None:
            raise UserError(f"The extractor {name} takes no weights: leave weights={weights} out.")
        return OWN[name]() if name in OWN else _trained(name)
    from saddlepoint.extractors import fidelity

    if name in fidelity.names():
        return fidelity.FidelityExtractor(name, weights=weights, download=download)
    near = difflib.get_close_matches(name, names(), n=1, cutoff=0.0)[0]
    raise UserError(
        f"There is no extractor '{name}'; did you mean '{near}'? Choose of {', '.join(names())},"
        f" or the {TRAINED_SUFFIX} file of a classifier that python train_extractor.py wrote."
    )


def why_not_at_hand(extractor: Extractor, device: torch.device, how: str) -> str | None:
    """Why nobody should be given an extractor unasked; None where it can be used at once.

    Args:
        extractor: made so that it downloads nothing.
        device: where it would run.
        how: what asks for it all the same, such as ``extractor=vgg16``.
    """
    try:
        extractor.check()
    except UserError as error:
        return str(error)
    if device.type == "cpu" and extractor.seconds_on_cpu is not None:
        return (
            f"No {extractor.name} on a CPU unless {how} asks for it: it takes about"
            f" {extractor.seconds_on_cpu:g} s an image."
        )
    return None


def names() -> list[str]:
    """Every name that `extractor_named` takes."""
    from saddlepoint.extractors import fidelity

    return [INCEPTION, *OWN, TRAINED, SUITED, *fidelity.names()]


def _trained(path: str) -> Extractor:
    from saddlepoint.extractors.trained_classifier import TrainedClassifier

    return TrainedClassifier(path)
