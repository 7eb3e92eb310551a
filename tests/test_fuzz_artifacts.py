"""Files that a run finds beside checkpoints: they run nothing, and no flipped bit counts."""

import hashlib
import io
import os

import pytest
import torch
from train_cli import equal

from saddlepoint.errors import UserError
from saddlepoint.evaluation import statistics_cache
from saddlepoint.extractors import trained_classifier
from saddlepoint.extractors.trained_classifier import TrainedClassifier, write_classifier
from saddlepoint.runs import artifact
from saddlepoint.runs.artifact import Artifact

STATE = {"mean": torch.arange(300.0), "count": torch.tensor(7)}
ARCHITECTURE = {
    "shape": [3, 16, 16],
    "num_classes": 4,
    "num_attributes": 0,
    "width": 4,
    "stacked": False,
}


class Code:
    """What would make a folder when it is unpickled."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return (os.mkdir, (str(self.proof),))


class Statistics:
    @staticmethod
    def write(path):
        statistics_cache.write(path, "f", STATE)

    @staticmethod
    def read(path):
        return statistics_cache.read(path, "f")

    @staticmethod
    def with_code(path, code):
        payload = io.BytesIO()
        torch.save({"fingerprint": "f", "state": {"mean": code}}, payload)
        path.write_bytes(hashlib.sha256(payload.getvalue()).digest() + payload.getvalue())


class StageArtifact:
    @staticmethod
    def write(path):
        artifact.write(path, Artifact("bank", "f", STATE))

    @staticmethod
    def read(path):
        found = artifact.read(path, "bank", "f")
        return found and found.content

    @staticmethod
    def with_code(path, code):
        header = {"format": artifact.FORMAT, "version": artifact.VERSION, "name": "bank"}
        torch.save({**header, "fingerprint": "f", "sha256": "", "content": code}, path)


class Classifier:
    @staticmethod
    def write(path):
        torch.manual_seed(1)
        network = trained_classifier.build_classifier(ARCHITECTURE)
        data = {"name": "squares", "digest": "0", "classes": list("abcd"), "attributes": []}
        content = {"architecture": ARCHITECTURE, "data": data, "accuracy": {}, "training": {}}
        write_classifier(path, network, content)

    @staticmethod
    def read(path):
        extractor = TrainedClassifier(path)
        extractor.load()
        return dict(extractor.network.state_dict()), extractor.content["architecture"]

    @staticmethod
    def with_code(path, code):
        header = {"format": trained_classifier.FORMAT, "version": trained_classifier.VERSION}
        torch.save({**header, "architecture": code, "state": {}, "weights_hash": ""}, path)


KINDS = [Statistics, StageArtifact, Classifier]


@pytest.mark.parametrize("kind", KINDS)
def test_code_in_a_file_is_not_run(kind, tmp_path):
    proof = tmp_path / "proof"
    kind.with_code(tmp_path / "file", Code(proof))
    try:
        assert kind.read(tmp_path / "file") is None
    except UserError as refusal:
        assert "is not a classifier of Saddlepoint" in str(refusal)
    assert not proof.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits_and_torn_ends(kind, tmp_path):
    path = tmp_path / "file"
    kind.write(path)
    whole, expected = path.read_bytes(), kind.read(path)
    generator = torch.Generator().manual_seed(5)
    damages = []
    for place in torch.randint(8 * len(whole), (60,), generator=generator).tolist():
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        damages.append(flipped)
    damages += [whole[:e] for e in torch.randint(len(whole), (10,), generator=generator).tolist()]
    refused = held = 0
    for damaged in damages:
        path.write_bytes(damaged)
        try:
            found = kind.read(path)
        except UserError:
            found = None
        refused += found is None
        held += found is None or equal(found, expected)  # a bit may say nothing
    print(f"damaged {kind.__name__}: {len(damages)} tried, {held} held, {refused} refused")
    assert held == len(damages) and refused > 20
