import json
import shutil

import pytest
import torch
import torch.nn.functional as F

from saddlepoint.datamodules.avatars import ATTRIBUTES, CLASSES, load_avatars
from saddlepoint.datamodules.pixels import to_float
from saddlepoint.errors import UserError
from saddlepoint.evaluation.frechet import FeatureStatistics, frechet_distance
from saddlepoint.extractors import attribute_classifier
from saddlepoint.extractors.attribute_classifier import (
    SHA256,
    WEIGHTS,
    AttributeClassifier,
    load_attribute_classifier,
)
from saddlepoint.randomness import keyed_generator

COUNT = 1000  # faces in a half


@pytest.fixture(scope="module")
def network():
    return load_attribute_classifier().requires_grad_(False)


@pytest.fixture(scope="module")
def faces():
    return load_avatars()


@pytest.fixture(scope="module")
def halves(faces):
    """Indices of two sets without a face in common."""
    order = torch.randperm(faces.count, generator=keyed_generator("halves"))
    return order[:COUNT], order[COUNT : 2 * COUNT]


@pytest.fixture(scope="module")
def distance(network, faces, halves):
    """The distance of images (n, 3, 32, 32) in [-1, 1] from the first half."""

    def statistics(images):
        result = FeatureStatistics()
        for batch in images.split(500):
            result.update(network(batch))
        return result

    reference = statistics(to_float(faces.image.values[halves[0]]))
    return lambda images: frechet_distance(reference, statistics(images))


def test_features(network):
    images = torch.rand(5, 3, 32, 32) * 2 - 1
    features = network(images)
    assert features.shape == (5, network.classes.in_features) and features.dtype == torch.float32
    torch.testing.assert_close(network(images[2:3]), features[2:3])  # eval mode: no mixing
    classes, binary = network.outputs(images)
    assert (classes.shape, binary.shape) == ((5, len(CLASSES)), (5, len(ATTRIBUTES)))
    torch.testing.assert_close(classes, network.classes(features))


def test_accuracy_is_the_recorded_one(network, faces):
    recorded = json.loads(WEIGHTS.with_suffix(".json").read_text())
    assert set(recorded) == {"hair_colour", *ATTRIBUTES}
    images = to_float(faces.image.values[:1000])
    classes, binary = network.outputs(images)
    right = ((binary > 0) == (faces.attributes.values[:1000] > 0)).float().mean(0)
    # Most of these faces were trained on, so they are told at least as well, up to chance.
    share = (classes.argmax(1) == faces.label.values[:1000]).float().mean()
    assert share > recorded["hair_colour"] - 0.03
    for name, share in zip(ATTRIBUTES, right.tolist(), strict=True):
        assert share > recorded[name] - 0.04


def test_two_halves_of_the_faces_are_near(distance, faces, halves):
    near = distance(to_float(faces.image.values[halves[1]]))
    assert near < 0.02 * distance(torch.rand(COUNT, 3, 32, 32) * 2 - 1)
    assert near < 0.02 * distance(
        to_float(faces.image.values[halves[1][:1]]).expand(COUNT, -1, -1, -1)
    )


def blurred(images, sigma):
    taps = torch.exp(-(torch.arange(-6.0, 7.0) ** 2) / (2 * sigma**2))
    kernel = (taps / taps.sum()).expand(3, 1, 1, -1)
    for weight, padding in ((kernel, (6, 6, 0, 0)), (kernel.mT, (0, 0, 6, 6))):
        images = F.conv2d(F.pad(images, padding, mode="replicate"), weight, groups=3)
    return images


def test_grows_with_blur(distance, faces, halves):
    images = to_float(faces.image.values[halves[1]])
    values = [distance(images)] + [distance(blurred(images, s)) for s in (0.5, 1, 2)]
    assert all(2 * a < b for a, b in zip(values, values[1:], strict=False))


def test_grows_with_noise(distance, faces, halves):
    images = to_float(faces.image.values[halves[1]])
    noise = torch.randn(images.shape, generator=keyed_generator("noise"))
    values = [distance(images + level * noise) for level in (0, 0.1, 0.2, 0.4)]
    assert all(1.2 * a < b for a, b in zip(values, values[1:], strict=False))


def test_grows_as_faces_are_lost(distance, faces, halves):
    images = to_float(faces.image.values[halves[1]])
    labels = faces.label.values[halves[1]]
    kept = [images[labels < most] for most in range(len(CLASSES), 0, -1)]
    values = [distance(k) for k in kept]
    assert all(a < b for a, b in zip(values, values[1:], strict=False))
    assert values[1] > 2 * values[0]  # one class of six is enough to notice


@pytest.mark.parametrize("name", ["glasses", "beard", "long_hair", "dark_skin"])
def test_notices_a_lost_attribute(name, distance, faces, halves):
    images = to_float(faces.image.values[halves[1]])
    has = faces.attributes.values[halves[1], ATTRIBUTES.index(name)].bool()
    # As many faces, drawn with no regard to the attribute.
    alike = distance(images[torch.arange(len(images)) < (~has).sum()])
    assert distance(images[~has]) > 2 * alike


@pytest.mark.parametrize("damage", ["missing", "truncated", "changed", "no_hash", "empty_hash"])
def test_damaged_weights(damage, tmp_path, monkeypatch):
    weights, digest = tmp_path / WEIGHTS.name, tmp_path / SHA256.name
    shutil.copy(WEIGHTS, weights)
    shutil.copy(SHA256, digest)
    content = weights.read_bytes()
    monkeypatch.setattr(attribute_classifier, "WEIGHTS", weights)
    monkeypatch.setattr(attribute_classifier, "SHA256", digest)
    load_attribute_classifier()
    if damage == "missing":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(content[:5000])
    elif damage == "changed":
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "no_hash":
        digest.unlink()
    else:
        digest.write_text("")
    with pytest.raises(UserError, match="missing or damaged"):
        load_attribute_classifier()


def test_network_of_other_tasks():
    network = AttributeClassifier(num_classes=3, num_attributes=2, width=8)
    classes, binary = network.outputs(torch.zeros(4, 3, 32, 32))
    assert (classes.shape, binary.shape) == ((4, 3), (4, 2))
