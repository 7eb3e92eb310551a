import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from saddlepoint.errors import UserError
from saddlepoint.evaluation.frechet import FeatureStatistics, frechet_distance

pytestmark = pytest.mark.numerical


def features(count, dimensions, seed, shift=0.0):
    """Correlated features with a spectrum that falls off by 1000."""
    mixing = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(0))
    mixing = torch.linalg.qr(mixing).Q  # orthogonal: leaves the spectrum
    noise = torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))
    return ((noise * torch.logspace(0, -3, dimensions)) @ mixing + shift).double()


def statistics(values, batch=17):
    result = FeatureStatistics()
    for part in values.split(batch):
        result.update(part)
    return result


def through_moments(result):
    """The same statistics, with the vectors themselves forgotten."""
    return FeatureStatistics.from_moments(result.count, result.mean, result.covariance)


def torch_fidelity(a, b):
    moments = [fid_features_to_statistics(x) for x in (a, b)]
    return fid_statistics_to_metric(*moments, verbose=False)["frechet_inception_distance"]


def by_singular_values(a, b):
    """The distance and how far others may be off: with roots of eigenvalues != 0, and of all d.

    With A = X^T X and B = Y^T Y the roots of the eigenvalues of A B are the singular values of
    X Y^T, exact to eps times the largest. An eigenvalue itself is known to about d eps |A B|, which
    moves its root by that over the root; one that is 0 for want of vectors by the root of that.
    """
    x, y = ((side - side.mean(0)).numpy() / math.sqrt(len(side) - 1) for side in (a, b))
    shift = (a.mean(0) - b.mean(0)).numpy()
    squares = shift @ shift + (x**2).sum() + (y**2).sum()
    dimensions, rank = x.shape[1], min(len(x) - 1, len(y) - 1, x.shape[1])
    roots = np.linalg.svd(x @ y.T, compute_uv=False)[:rank]
    ulp = dimensions * np.finfo(float).eps
    moved = ulp * roots[0] ** 2 / np.hypot(roots, math.sqrt(ulp) * roots[0])
    rounding = 2 * moved.sum() + ulp * squares
    return (
        squares - 2 * roots.sum(),
        rounding,
        rounding + 2 * (dimensions - rank) * math.sqrt(ulp) * roots[0],
    )


def gaussian(mean, covariance, count=1000):
    return FeatureStatistics.from_moments(count, torch.tensor(mean), torch.tensor(covariance))


@pytest.mark.parametrize("dimensions", [1, 2, 600])
def test_diagonal_gaussians(dimensions):
    # |m|^2 + sum (s_a - s_b)^2; 600 dimensions need more than one block of the triangular product.
    rng = np.random.default_rng(0)
    s_a, s_b = rng.uniform(0.1, 2, (2, dimensions))
    mean = rng.normal(size=dimensions)
    a = gaussian(np.zeros(dimensions), np.diag(s_a**2))
    b = gaussian(mean, np.diag(s_b**2))
    expected = mean @ mean + ((s_a - s_b) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)


def test_two_correlated_dimensions():
    # In two dimensions tr (AB)^(1/2) = sqrt(tr AB + 2 sqrt(det AB)).
    a, b = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[1.0, -0.4], [-0.4, 3.0]])
    cross = math.sqrt(np.trace(a @ b) + 2 * math.sqrt(np.linalg.det(a @ b)))
    expected = np.trace(a) + np.trace(b) - 2 * cross
    zero = np.zeros(2)
    assert frechet_distance(gaussian(zero, a), gaussian(zero, b)) == pytest.approx(expected)


def test_rank_one_covariances():
    # A = u u^T, B = v v^T: the cross term is |u . v|.
    u, v = np.array([3.0, 1.0, 0.0]), np.array([1.0, -1.0, 2.0])
    a = gaussian(np.zeros(3), np.outer(u, u))
    b = gaussian(np.zeros(3), np.outer(v, v))
    expected = u @ u + v @ v - 2 * abs(u @ v)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("real", "generated"), [(400, 300), (30, 300), (300, 30), (30, 50), (64, 65), (2, 2), (2, 500)]
)
def test_equal_to_torch_fidelity(real, generated):
    a, b = features(real, 64, 1), features(generated, 64, 2, shift=0.1)
    expected, rounding, rounding_of_zeros = by_singular_values(a, b)
    assert rounding < 2e-6 * expected
    assert torch_fidelity(a, b) == pytest.approx(expected, abs=rounding_of_zeros)
    assert frechet_distance(statistics(a), statistics(b)) == pytest.approx(expected, abs=rounding)
    # Also where only moments are known, as after merging ranks.
    forgotten = through_moments(statistics(a)), through_moments(statistics(b))
    assert frechet_distance(*forgotten) == pytest.approx(expected, abs=rounding)


def test_dead_features():
    # Constant columns make the covariance singular with any number of vectors.
    a, b = features(300, 40, 1), features(200, 40, 2, shift=0.1)
    a[:, 10:20] = b[:, 10:20] = 0.5
    a[:, 25] = 0.25
    expected, _, rounding = by_singular_values(a, b)
    assert torch_fidelity(a, b) == pytest.approx(expected, abs=rounding)
    assert frechet_distance(statistics(a), statistics(b)) == pytest.approx(expected, abs=rounding)


@pytest.mark.parametrize("count", [20, 500])
def test_a_set_is_at_distance_zero_from_itself_and_c_squared_from_its_translate(count):
    a = features(count, 64, 1)
    shift = torch.linspace(-1, 1, 64)
    _, rounding, _ = by_singular_values(a, a)
    assert frechet_distance(statistics(a), statistics(a)) < rounding < 1e-6
    distance = frechet_distance(statistics(a), statistics(a + shift))
    assert distance == pytest.approx(float(shift @ shift), rel=1e-6)


def test_symmetric_and_quadratic_in_scale():
    # 20 vectors have rank 19: the root of a 20th eigenvalue's rounding could be off by 1e-8.
    a, b = features(200, 32, 1), features(20, 32, 2, shift=0.1)
    distance, rounding, _ = by_singular_values(a, b)
    assert rounding < 1e-9 * distance
    assert frechet_distance(statistics(a), statistics(b)) == pytest.approx(distance, abs=rounding)
    assert frechet_distance(statistics(b), statistics(a)) == pytest.approx(distance, abs=rounding)
    scaled = frechet_distance(statistics(3 * a), statistics(3 * b))
    assert scaled == pytest.approx(9 * distance, abs=9 * rounding)


@pytest.mark.parametrize("count", [10, 32, 33, 200])
def test_moments_do_not_depend_on_batches_order_or_ranks(count):
    values = features(count, 32, 1) + 1e3  # an offset that one-pass sums of squares would not bear
    reference = statistics(values, batch=count)
    half = statistics(values[: count // 3])
    half.merge(statistics(values[count // 3 :]))
    shuffled = values[torch.randperm(count, generator=torch.Generator().manual_seed(0))]
    for other in (statistics(values, 1), statistics(shuffled, 7), half):
        assert other.count == count
        torch.testing.assert_close(other.mean, reference.mean, rtol=1e-12, atol=0)
        torch.testing.assert_close(other.covariance, reference.covariance, rtol=1e-9, atol=1e-12)
    numpy_covariance = torch.from_numpy(np.cov(values.numpy(), rowvar=False))
    torch.testing.assert_close(reference.covariance, numpy_covariance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [10, 200])
def test_root(count):
    for result in (
        statistics(features(count, 32, 1)),
        through_moments(statistics(features(count, 32, 1))),
    ):
        torch.testing.assert_close(result.root.mT @ result.root, result.covariance)
        assert len(result.root) == min(count - 1, 32)  # no row for an eigenvalue that is 0


def test_merging_leaves_the_other_as_it_was_and_forgets_the_root():
    a, b = statistics(features(20, 32, 1)), statistics(features(200, 32, 2))
    distance = frechet_distance(a, b)
    c = FeatureStatistics()
    c.merge(a)
    c.merge(b)
    c.merge(b)
    assert frechet_distance(a, b) == distance
    assert c.count == 420
    root_before = a.root
    a.merge(b)
    assert a.root.shape != root_before.shape


def test_memory_does_not_grow_with_the_number_of_vectors():
    result = FeatureStatistics()
    for seed in range(20):
        result.update(features(50, 16, seed))
        state = result.state()
        assert sum(tensor.numel() for tensor in state.values()) <= 16 * 16 + 16 + 1


@pytest.mark.parametrize("count", [10, 200])
def test_state_round_trip(count):
    a, b = statistics(features(count, 32, 1)), statistics(features(70, 32, 2, shift=0.1))
    restored = FeatureStatistics.from_state(a.state())
    assert frechet_distance(restored, b) == frechet_distance(a, b)
    assert all(isinstance(tensor, torch.Tensor) for tensor in a.state().values())


def test_vectors_are_not_shared_with_the_caller():
    values = features(5, 32, 1)
    result = statistics(values, batch=5)
    mean = result.mean.clone()
    values.zero_()
    assert torch.equal(result.mean, mean)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("side", ["real", "generated"])
def test_too_few(count, side):
    enough, few = statistics(features(10, 8, 1)), FeatureStatistics()
    if count:
        few.update(features(count, 8, 2))
    pair = (few, enough) if side == "real" else (enough, few)
    with pytest.raises(UserError, match=f"at least 2 {side} images"):
        frechet_distance(*pair)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("count", [5, 50])
@pytest.mark.parametrize("side", ["real", "generated"])
def test_features_that_are_not_finite(bad, count, side):
    good, values = statistics(features(50, 8, 1)), features(count, 8, 2)
    values[2, 3] = bad
    pair = (statistics(values), good) if side == "real" else (good, statistics(values))
    with pytest.raises(UserError, match=f"The {side} features hold NaN"):
        frechet_distance(*pair)


def test_overflow_is_an_error():
    with pytest.raises(UserError):
        frechet_distance(
            statistics(features(50, 8, 1) * 1e200), statistics(features(50, 8, 2) * 1e200)
        )
