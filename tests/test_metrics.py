import json
import math

import numpy as np
import pytest
import torch
from collecting import DATA, all_metrics, collected, named_metric, of_features, scores, side
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from two_ranks import on_two_ranks

from saddlepoint.errors import UserError
from saddlepoint.evaluation.frechet import FeatureStatistics, frechet_distance
from saddlepoint.evaluation.metrics import neighbours
from saddlepoint.evaluation.metrics.density_coverage import DensityCoverage
from saddlepoint.evaluation.metrics.fid import IntraFID
from saddlepoint.evaluation.metrics.inception_score import InceptionScore
from saddlepoint.evaluation.metrics.kid import KID
from saddlepoint.evaluation.metrics.precision_recall import PrecisionRecall
from saddlepoint.randomness import keyed_generator

pytestmark = pytest.mark.numerical


def random_features(count, dimensions, seed):
    """Features with a spectrum like those of a network: most variance in few directions."""
    generator = keyed_generator("features", seed)
    noise = torch.randn(count, dimensions, generator=generator)
    return (noise / (1 + torch.arange(dimensions)) ** 0.5 + 0.4).relu()


def kid_rounding(real, fake, degree=3, gamma=None, coef0=1.0):
    """The most that float64 can add to a KID, in any order of sums.

    It is made of four means of kernels, none above the largest k(x, x). A kernel has seen a
    rounding for each term of its product, times the degree, and a mean one for each vector.
    """
    dimensions = real.shape[1]
    square = max(side.double().square().sum(1).max().item() for side in (real, fake))
    largest = (square * (1 / dimensions if gamma is None else gamma) + coef0) ** degree
    roundings = degree * (dimensions + 2) + len(real) + len(fake)
    return 4 * largest * roundings * np.finfo(float).eps / 2


# Equality with torch-fidelity on the same features -----------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"splits": 3}, {"shuffle": False}, {"rng_seed": 1, "splits": 1}]
)
def test_inception_score_equals_torch_fidelity(options):
    fakes = side(103, 1)
    expected = isc_features_to_metric(fakes.logits, **options)
    found = scores(InceptionScore(**options), fakes, fakes, size=10)
    assert found["IS"] == pytest.approx(expected["inception_score_mean"], rel=1e-12)
    assert found["IS_std"] == pytest.approx(expected["inception_score_std"], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("subsets", "size"),
    [(30, 40), (3, 20)],
    ids=["all pairs at once", "subset by subset"],
)
@pytest.mark.parametrize("kernel", [{}, {"degree": 2, "gamma": 0.5, "coef0": 0.1}])
def test_kid_equals_torch_fidelity(subsets, size, kernel, monkeypatch):
    monkeypatch.setattr("saddlepoint.evaluation.metrics.kid.BLOCK", 32)
    real, fake = random_features(130, 64, 1), random_features(110, 64, 2)
    options = {f"kid_kernel_poly_{name}": value for name, value in kernel.items()}
    options |= {"kid_subsets": subsets, "kid_subset_size": size, "verbose": False}
    found = scores(KID(subsets, size, **kernel), of_features(real), of_features(fake))
    # In float64: torch-fidelity's own float32 rounds the means of kernels, which are near 30 and
    # whose small difference the distance is, to multiples of 4e-6.
    exact = kid_features_to_metric(fake.double(), real.double(), **options)
    rounding = kid_rounding(real, fake, **kernel)
    assert found["KID"] == pytest.approx(exact["kernel_inception_distance_mean"], abs=rounding)
    assert found["KID_std"] == pytest.approx(exact["kernel_inception_distance_std"], abs=rounding)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_equal_torch_fidelity(k, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 2000)
    real, fake = random_features(150, 32, 1), random_features(170, 32, 2) * 0.9
    expected = prc_features_to_metric(fake, real, prc_neighborhood=k, verbose=False)
    found = scores(PrecisionRecall(k), of_features(real), of_features(fake))
    assert len({0, 1, found["precision"], found["recall"]}) == 4
    assert found == {name: pytest.approx(expected[name], rel=1e-6) for name in found}


# Slow and obvious forms --------------------------------------------------------------------------


def test_inception_score_by_hand():
    p, q = [0.5, 0.3, 0.2], [0.1, 0.1, 0.8]
    mean = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    divergence = sum(
        x * math.log(x / m) for part in (p, q) for x, m in zip(part, mean, strict=True)
    )
    fakes = side(2, 0)._replace(logits=torch.tensor([p, q]).log())
    found = scores(InceptionScore(splits=1), fakes, fakes)
    assert found == {"IS": pytest.approx(math.exp(divergence / 2), rel=1e-6), "IS_std": 0}


def test_kid_by_loops():
    real, fake = side(7, 1, dimensions=3), side(9, 2, shift=0.2, dimensions=3)
    metric = KID(subsets=4, subset_size=5)

    def kernel(x, y):
        return float(x.double() @ y.double() / 3 + 1) ** 3

    draws, values = np.random.RandomState(2020), []
    for _ in range(4):
        x = fake.features[draws.choice(9, 5, replace=False)]
        y = real.features[draws.choice(7, 5, replace=False)]
        value = 0
        for i in range(5):
            for j in range(5):
                value -= 2 * kernel(x[i], y[j]) / 25
                if i != j:
                    value += (kernel(x[i], x[j]) + kernel(y[i], y[j])) / 20
        values.append(value)
    assert scores(metric, real, fake) == {
        "KID": pytest.approx(np.mean(values), rel=1e-9),
        "KID_std": pytest.approx(np.std(values), rel=1e-9),
    }


def test_balls_by_loops():
    real, fake = side(40, 1, dimensions=3), side(50, 2, shift=0.3, dimensions=3)
    k = 4

    def distance(x, y):
        return float((x.double() - y.double()).norm())

    def radii(features):
        return [sorted(distance(x, y) for y in features)[k] for x in features]

    x, y = real.features, fake.features
    x_radii, y_radii = radii(x), radii(y)
    d = [[distance(a, b) for b in y] for a in x]
    near_real = [[d[i][j] < x_radii[i] for j in range(50)] for i in range(40)]
    near_fake = [[d[i][j] < y_radii[j] for j in range(50)] for i in range(40)]
    expected = {
        "precision": sum(any(row[j] for row in near_real) for j in range(50)) / 50,
        "recall": sum(any(row) for row in near_fake) / 40,
        "density": sum(map(sum, near_real)) / (k * 50),
        "coverage": sum(map(any, near_real)) / 40,
    }
    found = scores(PrecisionRecall(k), real, fake) | scores(DensityCoverage(k), real, fake)
    assert found == pytest.approx(expected, rel=1e-12)


def test_intra_fid_is_the_mean_over_classes():
    real, fake = side(60, 1), side(45, 2, shift=0.1)
    metric = IntraFID(per_class=True)
    found = scores(metric, real, fake, size=7)
    distances = []
    for label in range(3):
        both = [FeatureStatistics(), FeatureStatistics()]
        for statistics, images in zip(both, (real, fake), strict=True):
            statistics.update(images.features[images.labels == label])
        distances.append(frechet_distance(*both))
    assert found == {
        "intra-FID": pytest.approx(sum(distances) / 3, rel=1e-9),
        "intra-FID round": pytest.approx(distances[0], rel=1e-9),
        "intra-FID square": pytest.approx(distances[1], rel=1e-9),
        "intra-FID flat": pytest.approx(distances[2], rel=1e-9),
    }


# Limiting cases ----------------------------------------------------------------------------------


def test_inception_score_of_certain_and_of_blind_classifiers():
    certain = side(40, 0)._replace(logits=1e4 * torch.eye(8).repeat(5, 1))
    metric = InceptionScore(splits=1)
    assert scores(metric, certain, certain)["IS"] == pytest.approx(8, rel=1e-12)
    blind = certain._replace(logits=torch.full((40, 8), 3.0))
    for splits in (1, 10):
        found = scores(InceptionScore(splits), blind, blind)
        assert found == {"IS": pytest.approx(1, rel=1e-12), "IS_std": pytest.approx(0, abs=1e-12)}
    one_class = certain._replace(logits=1e4 * torch.eye(8)[:1].repeat(40, 1))
    assert scores(metric, one_class, one_class)["IS"] == pytest.approx(1, rel=1e-12)


def test_kid_of_two_points_by_hand():
    # Kernel (x y + 1)^3 of 0 and 1: 1, 1 and 8. Identical sets of both: 1 + 1 - 2 (1+1+1+8) / 4.
    both = of_features([[0.0], [1.0]])
    assert scores(KID(subsets=3, subset_size=2), both, both) == {"KID": -3.5, "KID_std": 0}
    # Sets of one repeated point each: (1 - 2 * 1 + 8).
    zeros, ones = of_features([[0.0]] * 2), of_features([[1.0]] * 2)
    assert scores(KID(subsets=3, subset_size=2), zeros, ones) == {"KID": 7, "KID_std": 0}
    assert scores(KID(subsets=3, subset_size=2), ones, ones) == {"KID": 0, "KID_std": 0}


def test_kid_is_unbiased():
    """Over many draws of two sides from one distribution its mean is zero."""
    values = [scores(KID(1, 20), side(20, k), side(20, -k))["KID"] for k in range(1, 200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / len(values) ** 0.5


@pytest.mark.parametrize("dimensions", [1, 10, 300])
def test_balls_of_identical_and_of_distant_sets(dimensions):
    images = side(50, 1, dimensions=dimensions)
    found = scores(PrecisionRecall(), images, images) | scores(DensityCoverage(), images, images)
    # An open ball holds its own centre and all nearer neighbours but the last: k of them.
    assert found == {"precision": 1, "recall": 1, "density": 1, "coverage": 1}
    distant = side(50, 2, shift=1e3, dimensions=dimensions)
    found = scores(PrecisionRecall(), images, distant) | scores(DensityCoverage(), images, distant)
    assert found == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_balls_on_a_line():
    """Reals at 0, 1, 2, 3 and k = 1: open balls of radius 1. Fakes at 0.5 (twice) and 9."""
    real, fake = of_features([[0.0], [1.0], [2.0], [3.0]]), of_features([[0.5], [0.5], [9.0]])
    # 0.5 lies within 1 of 0 and of 1. Balls of the fakes: two of radius 0, and (0.5, 17.5).
    assert scores(DensityCoverage(1), real, fake) == {
        "density": pytest.approx(4 / 3),
        "coverage": 0.5,
    }
    assert scores(PrecisionRecall(1), real, fake) == {
        "precision": pytest.approx(2 / 3),
        "recall": 0.75,
    }


def test_constant_images_give_finite_scores():
    constant = of_features(torch.full((30, 300), 0.3))
    varied = side(30, 1, dimensions=300)
    options = {"kid": {"subsets": 3, "subset_size": 20}}
    for name in ("fid", "kid", "precision_recall", "density_coverage", "inception_score"):
        for real, fake in ((constant, constant), (varied, constant), (constant, varied)):
            found = scores(named_metric(name, **options.get(name, {})), real, fake)
            assert all(map(math.isfinite, found.values())), name
    assert scores(PrecisionRecall(), constant, constant) == {"precision": 1, "recall": 1}
    # All balls are empty.
    assert scores(DensityCoverage(), constant, constant) == {"density": 0, "coverage": 0}
    assert scores(PrecisionRecall(), varied, constant)["recall"] == 0


def test_duplicates_are_at_distance_zero():
    """Whatever block they are in and however large they are: rounding makes no neighbours."""
    features = 100 + random_features(20, 300, 1)
    twice = torch.cat([features, features, features])
    assert torch.equal(neighbours.squared_radii(twice, 2), torch.zeros(60))
    expected = neighbours.squared_radii(features, 1).repeat(3)
    # Sums of another order may round to the next float32.
    torch.testing.assert_close(neighbours.squared_radii(twice, 3), expected, rtol=2**-23, atol=0)


def in_float64(features, others):
    """Squared distances (n, m) as the difference of each pair."""
    return (features.double()[:, None] - others.double()).square().sum(2).float()


@pytest.mark.parametrize("offset", [0.0, 30.0, 1e3])
@pytest.mark.parametrize("block", [2**23, 400])
def test_distances_are_those_of_float64(offset, block, monkeypatch):
    """Whatever float32 leaves open: nothing, pairs, or (far from the origin) all of them."""
    monkeypatch.setattr(neighbours, "BLOCK", block)
    features, others = (offset + random_features(70, 40, seed) for seed in (1, 2))
    features[:10] = others[:10]
    squares = in_float64(features, others)
    own = in_float64(others, others).sort(dim=1).values
    # Rounding to float32 at the borders of its neighbours is all that may differ.
    options = {"rtol": 2**-23, "atol": 0}
    for k in (1, 3, 69):
        torch.testing.assert_close(neighbours.squared_radii(others, k), own[:, k], **options)
    radii = squares.sort(dim=0).values[5] * (1 + 1e-5 * (torch.arange(-35, 35) + 0.5))
    for rows, distances in neighbours.blocks_of_distances(features, others):
        for closed, compare in ((True, torch.le), (False, torch.lt)):
            found = distances.within(radii, closed=closed)
            assert torch.equal(found, compare(squares[rows], radii))
    for rows, distances in neighbours.blocks_of_distances(features[:10], others):
        border = torch.zeros(len(others))  # duplicates lie on it
        assert distances.within(border, closed=True).diagonal(rows.start).all()
        assert not distances.within(border, closed=False).any()


def test_few_distances_are_computed_twice(monkeypatch):
    """Float32 decides between neighbours of features as networks give them."""
    open_pairs = []
    pairs = neighbours.Distances._of_pairs

    def counted(self, rows, columns):
        open_pairs.append(len(rows))
        return pairs(self, rows, columns)

    monkeypatch.setattr(neighbours.Distances, "_of_pairs", counted)
    monkeypatch.setattr(neighbours, "_squares", None)  # the product of float64
    real, fake = side(400, 1, dimensions=300), side(400, 2, dimensions=300)
    scores(PrecisionRecall(), real, fake)
    of_radii = 2 * 400 * (3 + 1 + neighbours.SPARE)
    assert of_radii <= sum(open_pairs) < of_radii + 0.01 * 400**2


# Batches and ranks -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 64])
def test_scores_do_not_depend_on_the_batch_size(size):
    real, fake = side(63, 1), side(60, 2, shift=0.2)
    for metric in all_metrics():
        expected = scores(metric, real, fake)
        assert scores(metric, real, fake, size) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_collectors_come_back_from_their_state():
    real, fake = side(63, 1), side(60, 2, shift=0.2)
    for metric in all_metrics():
        again = []
        for new, images in ((metric.of_reals, real), (metric.of_fakes, fake)):
            collectors = new(len(images.features), torch.device("cpu"))
            for name, full in collected(new, images, size=20).items():
                collectors[name].load_state(full.state())
            again.append(collectors)
        expected = scores(metric, real, fake, size=20)
        assert metric.compute(*again) == pytest.approx(expected, rel=1e-12)


def test_memory_of_the_inception_score_does_not_grow_with_images():
    sizes = [
        sum(tensor.numel() for tensor in collector.state().values())
        for count in (50, 500)
        for collector in collected(InceptionScore().of_fakes, side(count, 1)).values()
    ]
    assert sizes[0] == sizes[1] == 10 * (12 + 2)


TWO_RANKS = """
import json
from collecting import all_metrics, collected, side
from saddlepoint.evaluation.ranks import share
found = {}
for metric in all_metrics():
    both = []
    for new, images in ((metric.of_reals, side(63, 1)), (metric.of_fakes, side(61, 2, 0.2))):
        both.append(collected(new, images, 9, share(len(images.features))))
        for collector in both[-1].values():
            collector.merge_ranks()
    found |= metric.compute(*both)
print(json.dumps(found))
"""


def test_two_processes_score_as_one(tmp_path):
    outputs = [json.loads(output) for output in on_two_ranks(TWO_RANKS, tmp_path)]
    expected = {}
    for metric in all_metrics():
        expected |= scores(metric, side(63, 1), side(61, 2, 0.2))
    assert outputs[0] == outputs[1]
    assert outputs[0] == pytest.approx(expected, rel=1e-9)


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "num_real", "num_fake", "words"),
    [
        (InceptionScore(), 0, 9, "inception_score.splits"),
        (KID(), 999, 1000, "kid.subset_size"),
        (KID(), 1000, 999, "kid.subset_size"),
        (PrecisionRecall(), 3, 50, "3 neighbours"),
        (PrecisionRecall(), 50, 3, "3 neighbours"),
        (DensityCoverage(), 5, 50, "5 neighbours"),
        (named_metric("fid"), 1, 50, "at least 2 images"),
        (IntraFID(), 50, 5, "3 classes"),
    ],
)
def test_too_few_images_are_refused(metric, num_real, num_fake, words):
    with pytest.raises(UserError) as caught:
        metric.check(DATA, num_real, num_fake)
    message = str(caught.value)
    assert words in message and "set " in message and "\n" not in message


@pytest.mark.parametrize(
    ("metric", "option", "value"),
    [
        (InceptionScore, "splits", 0),
        (KID, "subset_size", 1),
        (KID, "subsets", 0),
        (PrecisionRecall, "neighbours", 0),
        (DensityCoverage, "neighbours", 0),
    ],
)
def test_options_out_of_range_are_refused(metric, option, value):
    with pytest.raises(UserError, match=f"^{option}={value} is not to be had: give a whole number"):
        metric(**{option: value})


def test_just_enough_images_have_a_score():
    for metric, count in (
        *((InceptionScore(), 10), (KID(subset_size=10), 10)),
        *((PrecisionRecall(), 4), (DensityCoverage(), 6)),
    ):
        assert all(map(math.isfinite, scores(metric, side(count, 1), side(count, 2)).values()))


def test_kid_that_overflows_is_refused():
    huge = of_features(torch.full((20, 4), 1e30))
    with pytest.raises(UserError, match="kid.degree=30"):
        scores(KID(2, 10, degree=30, gamma=1.0), huge, huge)


def test_options_that_move_scores_are_in_the_definition():
    assert KID().definition() == {
        "subsets": 100,
        "subset_size": 1000,
        "degree": 3,
        "gamma": None,
        "coef0": 1.0,
        "rng_seed": 2020,
    }
    assert InceptionScore().definition() == {"splits": 10, "shuffle": True, "rng_seed": 2020}
    assert PrecisionRecall(2).definition() == {"neighbours": 2}
