"""Scores of images that no network at hand knows, and what stands beside scores as a reference."""

import numpy as np
import pytest
import torch
from PIL import Image
from scoring import Pixels, PlainData, Sampled, images
from torch import nn
from train_cli import composed

from saddlepoint.datamodules.avatars import Avatars
from saddlepoint.datamodules.folder import Folder
from saddlepoint.datamodules.wrapper import Wrapper
from saddlepoint.errors import UserError
from saddlepoint.evaluation.automatic import AutomaticScores
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.fakes import GeneratorFakes
from saddlepoint.evaluation.frechet import FeatureStatistics, frechet_distance
from saddlepoint.evaluation.real_reference import real_against_real
from saddlepoint.extractors import inception
from saddlepoint.extractors.avatar_classifier import AvatarClassifier
from saddlepoint.extractors.random_features import RandomFeatures
from saddlepoint.items import Items
from saddlepoint.runs import evaluate


@pytest.fixture
def photos(tmp_path):
    """Two folders, of 40 and 60 images."""
    numbers = np.random.default_rng(0)
    for name, count in (("A", 40), ("B", 60)):
        (tmp_path / name).mkdir()
        for k in range(count):
            pixels = numbers.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{k}.png")
    return tmp_path


def test_random_weights_are_the_same_everywhere():
    extractor = RandomFeatures()
    extractor.load()
    start = "d845aee9b4b5f4d81e1d3acdf2d220a249214a09a5d9d3d863047db7f47b5239"
    assert extractor.weights_hash == start
    assert all(weight.isfinite().all() for weight in extractor.network.parameters())


def test_random_features_take_grey_colour_and_any_size_and_tell_sets_apart():
    extractor = RandomFeatures()
    extractor.load()
    for shape in ((3, 32, 32), (1, 28, 28), (3, 64, 48)):
        assert extractor(images(2, 0, shape)).features.shape == (2, 64)
    real = Avatars().source.image.values

    def statistics(pixels):
        found = FeatureStatistics(torch.device("cpu"))
        found.update(extractor(pixels).features)
        return found

    first = statistics(real[:300])
    same = frechet_distance(first, statistics(real[300:600]))
    grey = real[300:600].float().mean(1, keepdim=True).expand(-1, 3, -1, -1).to(torch.uint8)
    few = real[300:310].repeat(30, 1, 1, 1)
    assert 5 * same < frechet_distance(first, statistics(few))
    assert 5 * same < frechet_distance(first, statistics(grey))


class Same(Wrapper):
    """Another data set's images as they are."""

    def load(self):
        return self.of.source


def test_a_folder_has_a_score_by_default_and_says_which(photos, monkeypatch):
    monkeypatch.setattr(inception, "find_inception_weights", lambda *_: None)
    data = Folder(photos / "A")
    for each in (data, Same(data)):
        chosen = AutomaticScores().choose(each, torch.device("cpu"))
        assert (chosen.extractor.name, chosen.num_real) == ("random-features", 40)
        assert chosen.note.startswith("Scored under own_images, which is no FID.")
        assert "inception" in chosen.note.lower() and "\n" not in chosen.note


def test_the_avatar_classifier_refuses_all_but_drawn_faces(photos):
    extractor = AvatarClassifier()
    extractor.refuse(Avatars())
    with pytest.raises(UserError, match="seen drawn faces alone, and its scores of A"):
        extractor.refuse(Folder(photos / "A"))
    with pytest.raises(UserError, match="own_images"):
        Evaluator.named("quick", num_fake=10).check(Folder(photos / "A"))


def test_two_small_folders_are_scored_with_numbers_that_fit(photos):
    config = composed([f"images={photos}/A", f"reference={photos}/B"], "evaluate")
    found = evaluate.images_of_others(config)
    assert found.protocol.scores.kid.subset_size == 20
    assert [note.split(":")[0] for note in found.notes] == [
        "KID over subsets of 20 images",
        "FID of 40 images is mostly their number",
    ]
    scores = {"fid": {}, "kid": {"subset_size": found.protocol.scores.kid.subset_size}}
    evaluator = Evaluator(RandomFeatures(), scores, num_fake=None)
    made = evaluator.prepare(found.data, fakes=found.fakes).score(found.fakes)
    assert made.protocol.scores["kid"]["subset_size"] == 20  # what is changed is recorded
    assert made.means["FD/random-features"] > 0


# References


def test_real_against_real_is_the_distance_of_two_disjoint_halves():
    data = PlainData(images(51, 0))
    evaluator = Evaluator(Pixels(), {"fid": {}, "kid": {"subset_size": 10}}, num_fake=40)
    evaluator.prepare(data)
    seen = []
    original = data.real_batches

    def real_batches(batch_size, indices):
        seen.append(indices)
        return original(batch_size, indices)

    data.real_batches = real_batches
    ((name, scores),) = real_against_real(evaluator, data).items()
    assert name == "25 real against 25 others"
    first, second = seen
    assert len(set(first.tolist()) | set(second.tolist())) == 50
    sides = [nn.functional.avg_pool2d(data.items[i].double(), 2).flatten(1) for i in seen]
    means = [side.mean(0) for side in sides]
    covariances = [torch.cov(side.T) for side in sides]
    root = torch.linalg.eigvals(covariances[0] @ covariances[1]).sqrt().real.sum()
    trace = sum(c.trace() for c in covariances) - 2 * root
    expected = (means[0] - means[1]).square().sum() + trace
    assert scores["FD/pixels"] == pytest.approx(expected.item(), rel=1e-6)
    assert "KD/pixels" in scores


def test_a_metric_that_cannot_be_had_of_half_the_images_is_left_out():
    data = PlainData(images(30, 0))
    evaluator = Evaluator(Pixels(), {"fid": {}, "kid": {"subset_size": 20}}, num_fake=30)
    ((_, scores),) = real_against_real(evaluator.prepare(data), data).items()
    assert list(scores) == ["FD/pixels"]
    alone = Evaluator(Pixels(), {"kid": {"subset_size": 20}}, num_fake=30)
    assert real_against_real(alone.prepare(data), data) == {}


class Averaged(nn.Module):
    """A game whose average draws zeros, and whose trained weights draw ones."""

    needs_data, condition, task = False, None, None

    def __init__(self):
        super().__init__()
        self.generator = nn.Linear(3, 2)
        self.moving_average = nn.Linear(3, 2)

    @property
    def is_averaged(self):
        return self.moving_average is not None

    def inputs_at(self, positions, seed, data):
        return Items(latents=torch.zeros(len(positions), 1))

    def sample(self, inputs):
        return torch.full((len(inputs.latents), 1, 2, 2), 0.0 if self.is_averaged else 1.0)


def test_the_trained_weights_are_scored_beside_their_average_and_left_as_they_are():
    game = Averaged()
    sampled = GeneratorFakes(game)
    other = sampled.with_other_weights
    assert (sampled.kind, other.kind, other.with_other_weights) == ("ema", "raw", None)
    for fakes, value in ((other, 1.0), (sampled, 0.0)):
        (batch,) = fakes.batches(range(4), 4, 0)
        assert (batch.image == value).all() and game.is_averaged
    assert sampled.parameters == other.parameters == {"generator": 8}
    evaluator = Evaluator(Pixels(), {"fid": {}}, num_fake=4).prepare(PlainData(images(9, 0)))
    kinds = [evaluator.protocol_for(fakes).generator for fakes in (sampled, other, Sampled())]
    assert kinds == ["ema", "raw", "raw"]
