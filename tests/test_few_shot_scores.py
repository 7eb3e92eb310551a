"""Few-shot translations are scored against classes that were never trained on."""

import pytest
import torch

from saddlepoint.datamodules.avatars import CLASSES, Avatars
from saddlepoint.datamodules.class_split import ClassSplit
from saddlepoint.evaluation.baselines import Baseline
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.fakes import GeneratorFakes
from saddlepoint.extractors.avatar_classifier import AvatarClassifier
from saddlepoint.extractors.extractor import Extracted
from saddlepoint.gans.episodes import Episodes
from saddlepoint.gans.networks.conditions import Classes

PREFIX = "saddlepoint.evaluation.metrics"
SCORES = {
    "translation_accuracy": {"_target_": f"{PREFIX}.translation_accuracy.TranslationAccuracy"},
    "class_distance": {"_target_": f"{PREFIX}.group_distance.ClassDistance"},
    "content": {"_target_": f"{PREFIX}.distance.Distance"},
}


class Judge(AvatarClassifier):
    """The network that comes with the package, with what it says of hair colours."""

    classes = CLASSES

    def forward(self, images):
        features = super().forward(images).features
        return Extracted(features, self.network.classes(features))


class LastExample:
    """A game that draws the last example it gets, whatever the content is."""

    is_averaged, needs_data = True, True

    def __init__(self, shots):
        self.condition = Classes(4)
        self.task = Episodes(self.condition, shots)

    def sampled(self):
        return torch.nn.Identity()

    def inputs_at(self, positions, seed=0, data=None):
        return self.task.shown(positions, seed, data)

    def sample(self, inputs):
        return inputs.shots[:, -1]


@pytest.fixture(scope="module")
def data():
    return ClassSplit(Avatars(num_workers=0), targets=["grey_hair", "blue_hair"])


def test_who_draws_an_example_shows_its_class_and_who_draws_the_content_does_not(data):
    fakes = GeneratorFakes(LastExample(shots=3), data)
    evaluator = Evaluator(
        extractor=Judge(), scores=SCORES, num_real=None, num_fake=192, seeds=[0]
    ).prepare(data, fakes=fakes)
    names = ("identity", "nearest", "colours")
    found = {name: evaluator.score(Baseline(name, fakes)).means for name in names}
    found["game"] = evaluator.score(fakes).means
    top1, distance = (
        {
            name: next(v for key, v in means.items() if key.startswith(score))
            for name, means in found.items()
        }
        for score in ("top-1/", "mFD/")
    )
    # The classifier is right on nearly all faces; no content is of a target class.
    assert top1["game"] > 0.9 and top1["nearest"] > 0.9
    assert top1["identity"] < 0.1
    assert distance["game"] < distance["identity"]
    assert found["identity"]["L1"] == 0 and found["nearest"]["L1"] < found["game"]["L1"]


def test_the_number_of_examples_and_where_they_come_from_are_in_the_protocol(data):
    marks = set()
    accuracy = {"translation_accuracy": SCORES["translation_accuracy"]}
    for shots, targets in ((1, ["grey_hair"]), (2, ["grey_hair"]), (1, ["blue_hair"])):
        split = ClassSplit(Avatars(num_workers=0), targets=targets)
        fakes = GeneratorFakes(LastExample(shots), split)
        evaluator = Evaluator(
            extractor=Judge(), scores=accuracy, num_real=None, num_fake=64, seeds=[0]
        )
        marks.add(evaluator.prepare(split, fakes=fakes).score(fakes).protocol.fingerprint)
    assert len(marks) == 3
