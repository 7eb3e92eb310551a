import math
from types import SimpleNamespace

import pytest
import torch
from collecting import CPU, of_features

from saddlepoint.datamodules.toys import Gaussians8, Gaussians25, SwissRoll
from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics import modes
from saddlepoint.evaluation.metrics.metric import Batch
from saddlepoint.evaluation.metrics.modes import Modes
from saddlepoint.randomness import keyed_generator

pytestmark = pytest.mark.numerical

DIGITS = SimpleNamespace(
    spec=SimpleNamespace(name="digits", shape=(1, 8, 8), classes=tuple("0123456789"))
)


def scores(metric, data, batches):
    count = sum(len(batch.features) for batch in batches)
    metric.check(data, 10, count)
    collectors = metric.of_fakes(count, CPU)
    for batch in batches:
        for collector in collectors.values():
            collector.update(batch)
    return metric.compute({}, collectors)


def points_at(counts, data, offset=0.0):
    """So many points for each mode, all at one distance from its mean."""
    return (data.mode_centres + torch.tensor([offset, 0.0])).repeat_interleave(counts, dim=0)


def classified(predictions):
    """Images whose most probable classes these are."""
    logits = torch.randn(len(predictions), 10, generator=keyed_generator("logits"))
    logits[torch.arange(len(predictions)), predictions] += 50
    return Batch(torch.zeros(len(predictions), 3), logits, torch.zeros_like(predictions), 0)


# Points ------------------------------------------------------------------------------------------


def test_points_on_every_mode():
    data = Gaussians8()
    found = scores(Modes(), data, [of_features(points_at(torch.full((8,), 5), data))])
    assert found["KL"] == pytest.approx(0, abs=1e-12)
    assert (found["modes"], found["high_quality"], found["registered"]) == (8, 1, 40)


def test_uneven_modes():
    data = Gaussians8()
    counts = torch.tensor([6, 3, 3, 0, 0, 0, 0, 0])
    far = torch.full((4, 2), 3.0)
    found = scores(Modes(), data, [of_features(torch.cat([points_at(counts, data), far]))])
    shares = [0.5, 0.25, 0.25]
    assert found["modes"] == 3
    assert found["KL"] == pytest.approx(sum(p * math.log(p * 8) for p in shares), rel=1e-12)
    assert found["high_quality"] == 12 / 16


def test_no_point_near_a_mode_is_the_worst_and_not_nan():
    data = Gaussians8()
    found = scores(Modes(), data, [of_features(torch.full((20, 2), 3.0))])
    assert found == {"modes": 0, "KL": math.log(8), "high_quality": 0, "registered": 0}
    one = scores(Modes(), data, [of_features(data.mode_centres[3].expand(20, 2))])
    assert (one["modes"], one["KL"]) == (1, pytest.approx(math.log(8)))
    assert (one["high_quality"], one["registered"]) == (1, 20)


def test_high_quality_ends_at_the_radius():
    data = Gaussians25()
    counts = torch.ones(25, dtype=torch.int64)
    for options, limit in (
        ({}, 3 * data.mode_std),
        ({"radius": 2}, 2 * data.mode_std),
        ({"distance": 0.1}, 0.1),
    ):
        for offset, share in ((0.99 * limit, 1), (1.01 * limit, 0)):
            points = of_features(points_at(counts, data, offset))
            assert scores(Modes(**options), data, [points])["high_quality"] == share


def test_a_mode_needs_as_many_points_as_asked_for():
    data = Gaussians8()
    counts = torch.tensor([19, 20, 21, 40, 40, 40, 0, 1])
    points = [of_features(points_at(counts, data))]
    assert scores(Modes(), data, points)["modes"] == 7
    assert scores(Modes(registered=20), data, points)["modes"] == 5


def test_data_themselves_are_as_good_as_their_noise_allows():
    data = Gaussians25(num_items=20_000)
    found = scores(Modes(), data, [of_features(data.source.image.values)])
    assert found["modes"] == 25
    # A normal vector in the plane is within 3 standard deviations in 1 - exp(-9 / 2) of all cases.
    assert found["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.004)
    # 2 N KL follows chi squared with 24 degrees of freedom, here up to 6 of its deviations.
    assert 2 * 20_000 * found["KL"] < 24 + 6 * math.sqrt(48)


# Classes of images -------------------------------------------------------------------------------


def test_classes_of_images():
    predictions = torch.tensor([0] * 4 + [1] * 2 + [7] * 2 + [9] * 8)
    metric = Modes()
    assert not metric.needs_logits
    found = scores(metric, DIGITS, [classified(predictions)])
    assert metric.needs_logits
    shares = [4 / 16, 2 / 16, 2 / 16, 8 / 16]
    expected = sum(p * math.log(p * 10) for p in shares)
    assert found == {"modes": 4, "KL": pytest.approx(expected, rel=1e-12)}
    rare = torch.tensor([0] * 40 + [1] * 9 + [7] * 10 + [9] * 41)
    assert scores(Modes(registered=10), DIGITS, [classified(rare)])["modes"] == 3


# Collecting --------------------------------------------------------------------------------------


def test_batches_state_and_memory():
    data = Gaussians8()
    points = data.source.image.values[:1000] * 1.05
    whole = scores(Modes(), data, [of_features(points)])
    parts = [of_features(part) for part in points[torch.randperm(1000)].split(7)]
    assert scores(Modes(), data, parts) == whole
    metric = Modes()
    metric.check(data, 10, 1000)
    full, other = (metric.of_fakes(1000, CPU)["samples of modes"] for _ in range(2))
    full.update(of_features(points))
    assert sum(tensor.numel() for tensor in full.state().values()) == 8 + 1
    other.load_state(full.state())
    assert metric.compute({}, {"samples of modes": other}) == whole


def test_ranks_add_their_counts(monkeypatch):
    data = Gaussians8()
    points = data.source.image.values[:100] * 1.05
    metric = Modes()
    whole = scores(metric, data, [of_features(points)])
    parts = [metric.of_fakes(100, CPU)["samples of modes"] for _ in range(2)]
    for part, mine in zip(parts, (points[:70], points[70:]), strict=True):
        part.update(of_features(mine))
    states = [part.state() for part in parts]

    def gathered(own):
        assert torch.equal(own["counts"], states[0]["counts"])
        return states

    monkeypatch.setattr(modes, "from_all_ranks", gathered)
    parts[0].merge_ranks()
    assert metric.compute({}, {"samples of modes": parts[0]}) == whole


def test_definition_holds_the_options_alone():
    metric = Modes(registered=20, distance=0.1)
    options = {"radius": 3.0, "distance": 0.1, "registered": 20}
    assert metric.definition() == options
    metric.check(Gaussians8(), 10, 1000)
    assert metric.definition() == options


# Errors ------------------------------------------------------------------------------------------


def test_data_without_modes_are_refused():
    with pytest.raises(UserError, match="swiss_roll has neither modes"):
        Modes().check(SwissRoll(), 10, 1000)
    plain = SimpleNamespace(spec=SimpleNamespace(name="photos", shape=(3, 32, 32), classes=()))
    with pytest.raises(UserError, match="photos has neither modes"):
        Modes().check(plain, 10, 1000)


def test_samples_that_cannot_reach_all_modes_are_refused():
    with pytest.raises(UserError, match="159 samples cannot reach 8 modes with 20 each"):
        Modes(registered=20).check(Gaussians8(), 10, 159)
    Modes(registered=20).check(Gaussians8(), 10, 160)
    with pytest.raises(UserError, match="9 samples cannot reach 10 modes"):
        Modes().check(DIGITS, 10, 9)


@pytest.mark.parametrize("options", [{"radius": 0}, {"distance": -1}, {"registered": 0}])
def test_options_that_count_nothing_are_refused(options):
    with pytest.raises(UserError, match="is not to be had: give"):
        Modes(**options)


def test_the_extractor_has_to_suit_the_data():
    with pytest.raises(UserError, match="extractor=raw"):
        scores(Modes(), Gaussians8(), [of_features(torch.zeros(20, 5))])
    batch = Batch(torch.zeros(20, 5), torch.zeros(20, 7), torch.zeros(20).long(), 0)
    with pytest.raises(UserError, match="tells 7 classes and the data have 10"):
        scores(Modes(), DIGITS, [batch])
