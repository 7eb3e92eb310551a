"""Edits scored as a whole: on the portraits, by a classifier of them, beside trivial baselines."""

import json

import pytest
import torch

from saddlepoint.datamodules.portraits import ATTRIBUTES, HAIR, Portraits
from saddlepoint.errors import UserError
from saddlepoint.evaluation.baselines import BASELINES, Baseline
from saddlepoint.evaluation.colour_transfer import transferred
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.fakes import GeneratorFakes
from saddlepoint.evaluation.named import settings_of
from saddlepoint.extractors.data_classifier import DataClassifier
from saddlepoint.extractors.named import extractor_named
from saddlepoint.items import Items
from saddlepoint.records.record import make_record
from saddlepoint.runs.evaluate import given


class Few(Portraits):
    """Some of the portraits."""

    def load(self):
        return super().load().only(torch.arange(240))


class Editor:
    """A game that is asked for one change of each face, and knows the truth or draws over it.

    Args:
        spill: steps of 8 bits by which a pixel in the corner is changed, too.
    """

    is_averaged, needs_data, condition = False, True, None

    def __init__(self, spill=0):
        self.spill = spill

    def inputs_at(self, positions, seed=0, data=None):
        items = data.held_out.items_at(torch.tensor(positions) % data.held_out.spec.num_items)
        target = items.attributes.clone()
        for row, position in enumerate(positions):
            attribute = position % len(ATTRIBUTES)
            if attribute < len(HAIR):
                target[row, : len(HAIR)] = 0
                target[row, attribute] = 1
            else:
                target[row, attribute] = 1 - target[row, attribute]
        return items.but(target=target)

    def sample(self, inputs):
        image = inputs.truth.clone()
        image[:, :, 0, 31] += (1 - 2 * (image[:, :, 0, 31] > 0).float()) * self.spill / 127.5
        return image


@pytest.fixture(scope="module")
def data():
    return Few(num_workers=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("classifiers")


def judge(folder):
    return DataClassifier(folder, epochs=2)


def evaluator(folder, **changes):
    settings = settings_of("protocol", "edit_truth")
    scores = settings["scores"] | {"region_distance": {"smallest": 4}}
    return Evaluator(judge(folder), scores, num_fake=120, batch_size=50, **changes)


def test_a_classifier_is_trained_once_and_disturbs_no_random_numbers(data, folder):
    before = torch.get_rng_state()
    first, second = judge(folder), judge(folder)
    first.suit(data)
    assert torch.equal(torch.get_rng_state(), before)
    (file,) = folder.glob("*.pt")
    written = file.stat().st_mtime_ns
    second.suit(data)
    assert [*folder.glob("*.pt")] == [file] and file.stat().st_mtime_ns == written
    assert first.name == "classifier-portraits" and first.attributes == ATTRIBUTES
    assert first.classes == data.spec.classes
    for each in (first, second):
        each.load()
    image = data.source.image.values[:3]
    seen = first.outputs(image)
    assert torch.equal(seen.attributes, second.outputs(image).attributes)
    assert seen.attributes.shape == (3, len(ATTRIBUTES)) and seen.classes.shape == (3, 18)
    assert set(first.content["accuracy"]) == {"class", *ATTRIBUTES}
    assert extractor_named("data-classifier", str(folder)).folder == folder


def test_the_truth_changes_nothing_outside_and_is_the_truth_inside(data, folder):
    fakes = GeneratorFakes(Editor(), data)
    score = evaluator(folder).prepare(data, fakes=fakes)
    result = score.score(fakes)
    means = result.means
    assert means["preservation"] == means["L1 outside"] == means["L1 inside of truth"] == 0
    assert means["PSNR inside of truth"] == 100
    assert means["SSIM inside of truth"] == pytest.approx(1, rel=1e-12)
    success = "attribute success/classifier-portraits"
    assert result.ranking == (success,) and result.directions[success] == "larger"
    assert "judge accuracy/classifier-portraits" not in result.directions
    assert "region FD floor/classifier-portraits" not in result.directions
    assert result.directions["region KD/classifier-portraits"] == "smaller"
    inputs = result.protocol.inputs
    assert inputs["dataset"] == "portraits" and {"boxes", "edits", "attributes"} <= set(inputs)
    spilled = score.score(GeneratorFakes(Editor(spill=7), data)).means
    assert spilled["preservation"] == 7 and spilled["L1 inside of truth"] == 0
    record = make_record(
        result, iteration=1, kimg=1.0, seconds=1.0, run={}, made_by={"commit": None}
    )
    assert "baselines" not in record and json.loads(json.dumps(record)) == record


def test_baselines_show_how_to_read_a_score(data, folder):
    fakes = GeneratorFakes(Editor(), data)
    score = evaluator(folder).prepare(data, fakes=fakes)
    made = [Baseline(name, fakes) for name in BASELINES]
    found = {each.name: score.score(each).means for each in made if each.is_possible}
    assert list(found) == ["identity", "nearest", "truth"]  # colours take examples
    collateral, accuracy = (
        f"{name}/classifier-portraits" for name in ("collateral change", "judge accuracy")
    )
    assert found["identity"]["preservation"] == found["identity"][collateral] == 0
    assert found["identity"]["seam ratio"] == 1
    assert found["identity"]["L1 inside of truth"] > 5
    assert found["truth"] == pytest.approx(score.score(fakes).means)
    # Somebody else has the attributes, and other pixels outside.
    assert found["nearest"]["preservation"] > 50
    assert len({means[accuracy] for means in found.values()}) == 1, "it is that of the inputs"


def test_the_nearest_image_is_one_of_those_that_show_what_is_asked_for(data):
    fakes = GeneratorFakes(Editor(), data)
    (made,) = Baseline("nearest", fakes).batches(range(3, 12), 100, seed=0)
    training = next(data.real_batches(1000))
    images = training.image.float() / 127.5 - 1
    rows = made.inputs.only("image", "wanted", "mask").values()
    for image, source, wanted, mask in zip(made.image, *rows, strict=True):
        found = (images == image).flatten(1).all(1)
        same = (training.attributes == wanted).all(1)
        among = same if same.any() else torch.ones_like(same)
        distance = ((images - source).square() * (1 - mask)).sum((1, 2, 3))
        assert (found & among).any()
        nearest = distance[among].min().item()
        assert distance[found].min().item() == pytest.approx(nearest, rel=1e-5)


def test_of_a_few_examples_the_nearest_is_taken(data):
    class FewShots(Editor):
        def inputs_at(self, positions, seed=0, data=None):
            inputs = super().inputs_at(positions, seed, data)
            shots = torch.stack([inputs.image + 0.5, inputs.image - 0.1, inputs.image - 1], dim=1)
            return Items(image=inputs.image, shots=shots, target=torch.zeros(len(positions)).long())

    fakes = GeneratorFakes(FewShots(), data)
    (made,) = Baseline("nearest", fakes).batches(range(5), 100, seed=0)
    torch.testing.assert_close(made.image, made.inputs.image - 0.1)
    assert not Baseline("truth", fakes).is_possible
    # And all of them tell which colours the input should have.
    (made,) = Baseline("colours", fakes).batches(range(5), 100, seed=0)
    torch.testing.assert_close(made.image, transferred(made.inputs.image, made.inputs.shots))
    with pytest.raises(UserError, match="no baseline 'best': choose of identity, nearest, col"):
        Baseline("best", fakes)


def test_several_numbers_of_examples_are_scored_under_protocols_of_their_own(data, folder):
    class FewShots(Editor):
        class Task:
            def __init__(self, shots=3):
                self.shots = shots

            def with_shots(self, shots):
                return type(self)(shots)

        task = Task()

    score = Evaluator(None, {"preservation": {}}, num_fake=20)
    found = GeneratorFakes(FewShots(), data)
    score.prepare(data, fakes=found)
    asked = [(fakes.shots, score.protocol_for(fakes)) for fakes in given(found, [1, 5])]
    assert [shots for shots, _ in asked] == [1, 5]
    assert [protocol.inputs["shots"] for _, protocol in asked] == ["1", "5"]
    assert asked[0][1].fingerprint != asked[1][1].fingerprint
    assert [fakes.shots for fakes in given(found, [])] == [3]
    plain = GeneratorFakes(Editor(), data)
    assert "shots" not in score.protocol_for(plain).inputs
    with pytest.raises(UserError, match="given no examples: leave shots= out"):
        next(given(plain, [1]))
