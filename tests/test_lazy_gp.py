"""The lazy Gaussian process: its factor, likelihood, refits, acquisitions and suggestions."""

import time

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import cholesky
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

from saddlepoint.search.acquisition import (
    log_expected_improvement,
    log_h,
    log_probability_of_improvement,
    upper_confidence_bound,
)
from saddlepoint.search.factor import GrowingFactor, NotPositiveDefiniteError
from saddlepoint.search.kernels import KERNELS, squared_distances
from saddlepoint.search.likelihood import Hyperparameters, log_likelihood
from saddlepoint.search.refit import DensityDrop, Every, Geometric, schedule_of
from saddlepoint.search.surrogate import LazyGaussianProcess, Posterior

pytestmark = pytest.mark.numerical


def data(n, d=3, seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(n, d))
    return x, np.sin(5 * x[:, 0]) + x[:, 1] ** 2 + noise * rng.standard_normal(n)


def covariance(x, lengths=0.5, noise=1e-2):
    return KERNELS["matern52"](squared_distances(x / lengths, x / lengths))[0] + noise * np.eye(
        len(x)
    )


def fed(model, x, y):
    for n in range(1, len(x) + 1):
        model.see(x[n - 1], y[:n])
    return model


def lazy(d=3, schedule=None, **options):
    return LazyGaussianProcess(d, schedule or Geometric(), **options)


def test_rows_one_by_one_or_together_give_the_factor_of_the_whole():
    matrix = covariance(data(40)[0])
    whole = cholesky(matrix, lower=True)
    one_by_one, together = GrowingFactor(), GrowingFactor()
    for factor in (one_by_one, together):
        factor.factorise(matrix[:20, :20])
    for n in range(20, 40):
        one_by_one.extend(matrix[:n, n : n + 1], matrix[n : n + 1, n : n + 1])
    together.extend(matrix[:20, 20:], matrix[20:, 20:])
    for factor in (one_by_one, together):
        assert np.abs(factor.lower - whole).max() < 1e-10
        assert np.abs(factor.lower @ factor.lower.T - matrix).max() < 1e-10
        assert factor.log_determinant() == pytest.approx(np.linalg.slogdet(matrix)[1], abs=1e-8)
        assert np.abs(factor.solve(matrix) - np.eye(40)).max() < 1e-8
        assert factor.dense_factorisations == 1


def test_the_new_diagonal_is_the_variance_that_was_believed():
    x, y = data(21)
    model = fed(lazy(schedule=Every(1000)), x[:20], y[:20])
    variance = model.posterior(x[20:]).std[0] ** 2
    model.see(x[20], y)
    added = model.factor.lower[20, 20] ** 2 - model.hyperparameters.noise
    assert added == pytest.approx(variance, abs=1e-10)


def test_rows_that_are_taken_back_leave_no_trace():
    x, y = data(30)
    model = fed(lazy(), x, y)
    before, there = model.factor.lower.copy(), model.posterior(x[:5] + 0.01)
    model.imagine(np.random.default_rng(1).uniform(size=(40, 3)))  # more than the room holds
    assert model.factor.rows == 70 and model.rows == 30
    model.forget()
    assert np.array_equal(model.factor.lower, before)
    for old, new in zip(there[:2], model.posterior(x[:5] + 0.01)[:2], strict=True):
        assert np.array_equal(old, new)


def test_a_believer_keeps_the_mean_and_loses_uncertainty():
    x, y = data(30)
    model = fed(lazy(), x, y)
    probes = np.random.default_rng(1).uniform(size=(50, 3))
    before = model.posterior(probes)
    model.imagine(probes[:3])
    after = model.posterior(probes)
    assert after.mean == pytest.approx(before.mean, abs=1e-6)
    assert (after.std <= before.std + 1e-9).all()
    assert (after.std[:3] < 0.9 * before.std[:3]).all()
    model.forget()
    model.imagine(probes[:1], target=9.0)
    assert model.posterior(probes[:1]).mean[0] > before.mean[0] + 1


def test_a_repeated_point_is_no_trouble_and_what_is_no_covariance_is_refused_by_name():
    x, y = data(10)
    twice, values = np.concatenate([x, x[:1]]), np.append(y, y[0])
    assert fed(lazy(noise=1e-6), twice, values).factor.jitter == 0
    without_noise = fed(lazy(schedule=Every(1000), noise=0.0), twice, values)
    assert without_noise.factor.jitter > 0  # and it is no more than was needed
    assert without_noise.factor.jitter <= 1e-6
    factor = GrowingFactor()
    factor.factorise(np.eye(2))
    with pytest.raises(NotPositiveDefiniteError):
        factor.extend(np.array([[2.0], [0.0]]), np.eye(1))
    assert factor.rows == 2 and np.array_equal(factor.lower, np.eye(2))
    with pytest.raises(NotPositiveDefiniteError):
        GrowingFactor().factorise(np.array([[1.0, 2.0], [2.0, 1.0]]))


def test_a_factor_that_is_off_is_noticed_and_made_anew():
    x, y = data(60)
    model = fed(lazy(schedule=Every(1000)), x[:59], y[:59])
    assert model.factor.dense_factorisations == 1
    model.factor.lower[:] *= 1.001
    model.see(x[59], y)
    assert model.factor.dense_factorisations == 2
    expected = covariance(x, model.hyperparameters.length_scales, model.hyperparameters.noise)
    assert np.abs(model.factor.lower @ model.factor.lower.T - expected).max() < 1e-10


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lengths", [np.array([0.4, 0.7, 1.2]), np.array([0.6])])
def test_the_gradient_of_the_likelihood_is_that_of_its_differences(kernel, lengths):
    x, y = data(30)
    y = (y - y.mean()) / y.std()
    theta, step = np.log(np.append(lengths, 1e-2)), 1e-5

    def at(theta):
        here = Hyperparameters(np.exp(theta[:-1]), float(np.exp(theta[-1])))
        return log_likelihood(x, y, KERNELS[kernel], here)

    _, by_length, by_noise = at(theta)
    steps = step * np.eye(len(theta))
    differences = [(at(theta + s)[0] - at(theta - s)[0]) / (2 * step) for s in steps]
    assert np.append(by_length, by_noise) == pytest.approx(differences, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_gradient_of_the_posterior_is_that_of_its_differences(kernel):
    model = fed(lazy(kernel=kernel, schedule=Every(1000)), *data(30))
    points, step = np.random.default_rng(1).uniform(size=(6, 3)), 1e-5
    there = model.posterior(points, gradient=True)
    for column, s in enumerate(step * np.eye(3)):
        up, down = model.posterior(points + s), model.posterior(points - s)
        by_mean = (up.mean - down.mean) / (2 * step)
        by_std = (up.std - down.std) / (2 * step)
        assert there.mean_gradient[:, column] == pytest.approx(by_mean, rel=1e-4, abs=1e-5)
        assert there.std_gradient[:, column] == pytest.approx(by_std, rel=1e-4, abs=1e-5)


def classical(x, y, hyperparameters, optimise):
    """Scikit-learn's process with the same kernel, noise and first length scales."""
    bounds = (1e-2, 1e2) if optimise else "fixed"
    kernel = kernels.Matern(hyperparameters.length_scales, bounds, nu=2.5)
    process = GaussianProcessRegressor(kernel, alpha=hyperparameters.noise)
    return process.fit(x, (y - y.mean()) / y.std())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_refitted_after_each_point_it_is_the_full_process():
    """Scikit-learn's, in hyper-parameters, mean and standard deviation."""
    x, y = data(24, d=2)
    probes = np.random.default_rng(1).uniform(size=(20, 2))
    model = lazy(2, Every(1), noise=1e-2)
    for n in range(1, 25):
        before = model.hyperparameters
        model.see(x[n - 1], y[:n])
        if n < 12:
            continue
        theirs = classical(x[:n], y[:n], before, optimise=True)
        own = log_likelihood(
            x[:n], (y[:n] - y[:n].mean()) / y[:n].std(), model.kernel, model.hyperparameters
        )[0]
        # A restart may have found a better maximum than their only search.
        assert own > theirs.log_marginal_likelihood_value_ - 1e-4
        if own < theirs.log_marginal_likelihood_value_ + 1e-4:
            found = theirs.kernel_.length_scale
            inside = (found < 50) & (found > 0.02)
            assert model.hyperparameters.length_scales[inside] == pytest.approx(
                found[inside], rel=2e-2
            )
        same = classical(x[:n], y[:n], model.hyperparameters, optimise=False)
        mean, std = same.predict(probes, return_std=True)
        believed = model.posterior(probes)
        assert believed.mean == pytest.approx(mean, abs=1e-7)
        assert believed.std == pytest.approx(std, abs=1e-7)


def test_with_the_same_hyperparameters_lazy_is_full():
    x, y = data(40)
    model = fed(lazy(schedule=Every(1000), noise=1e-3), x, y)
    full = classical(x, y, Hyperparameters(np.full(3, 0.5), 1e-3), optimise=False)
    probes = np.random.default_rng(1).uniform(size=(20, 3))
    mean, std = full.predict(probes, return_std=True)
    assert model.posterior(probes).mean == pytest.approx(mean, abs=1e-8)
    assert model.posterior(probes).std == pytest.approx(std, abs=1e-8)
    there, spread = model.predict(probes)
    assert there == pytest.approx(y.mean() + y.std() * mean, abs=1e-8)
    assert spread == pytest.approx(y.std() * std, abs=1e-8)


def test_hyperparameters_are_carried_forward_between_refits():
    """The released code falls back to its first ones."""
    x, y = data(40)
    model, seen = lazy(schedule=Every(10)), []
    for n in range(1, 41):
        model.see(x[n - 1], y[:n])
        seen.append(model.hyperparameters)
    assert list(model.refits) == [1, 11, 21, 31]
    for at in (11, 21, 31):
        assert all(later is seen[at - 1] for later in seen[at - 1 : at + 8])
    assert not np.allclose(seen[-1].length_scales, 0.5)
    assert model.factor.dense_factorisations == 4


def test_schedules():
    x, y = data(60)
    assert list(fed(lazy(schedule=schedule_of(1)), x[:9], y[:9]).refits) == list(range(1, 10))
    geometric = list(fed(lazy(schedule=schedule_of("geometric")), x, y).refits)
    assert geometric[:20] == list(range(1, 21)) and geometric[-1] > 55 and len(geometric) < 40
    assert all(b >= 1.05 * a for a, b in zip(geometric, geometric[1:], strict=False))
    watching = schedule_of("lml_drop")
    assert isinstance(watching, DensityDrop)
    model = fed(lazy(schedule=watching), x, y)
    calm = len(model.refits)
    rng = np.random.default_rng(2)
    for _ in range(20):  # nothing of this was foreseen
        x = np.concatenate([x, rng.uniform(size=(1, 3))])
        y = np.append(y, 30 * rng.standard_normal())
        model.see(x[-1], y)
    assert len(model.refits) > calm


def test_the_densities_of_left_out_targets_are_those_of_processes_without_them():
    x, y = data(12)
    model = fed(lazy(schedule=Every(1000), noise=1e-2), x, y)
    last = model._left_out(3)
    targets = (y - y.mean()) / y.std()
    for place, row in enumerate((9, 10, 11)):
        kept = np.arange(12) != row
        process = GaussianProcessRegressor(kernels.Matern([0.5] * 3, "fixed", nu=2.5), alpha=1e-2)
        mean, std = process.fit(x[kept], targets[kept]).predict(x[row : row + 1], return_std=True)
        density = norm.logpdf(targets[row], mean[0], np.hypot(std[0], 0.1))
        assert last[place] == pytest.approx(density, abs=1e-8)


def test_the_best_mean_is_that_of_the_posterior_at_the_points_seen():
    x, y = data(30, noise=1.0)
    model = fed(lazy(schedule=Every(1000), noise=0.3), x, y)
    assert model.best_mean() == pytest.approx(model.posterior(x).mean.max(), abs=1e-9)
    assert model.best_mean() < model.standardised(y.max())


def test_the_order_of_points_changes_nothing():
    x, y = data(40)
    order = np.random.default_rng(1).permutation(40)
    probes = np.random.default_rng(2).uniform(size=(20, 3))
    one = fed(lazy(schedule=Every(1000)), x, y).posterior(probes)
    other = fed(lazy(schedule=Every(1000)), x[order], y[order]).posterior(probes)
    assert one.mean == pytest.approx(other.mean, abs=1e-9)
    assert one.std == pytest.approx(other.std, abs=1e-9)


def test_all_rows_together_cost_one_dense_factorisation_and_a_row_little_beside_it():
    assert fed(lazy(schedule=Every(10**9)), *data(200)).factor.dense_factorisations == 1
    n = 1500
    matrix = covariance(data(n)[0])
    factor = GrowingFactor()
    whole = cpu_seconds(lambda: factor.factorise(matrix))
    cross, own = np.asfortranarray(0.5 * matrix[:, :1]), np.eye(1)
    factor.extend(cross, own)  # makes room
    factor.truncate(n)
    row = cpu_seconds(lambda: factor.extend(cross, own))
    assert row < whole / 3  # n^2 beside n^3 / 3: a few hundredths


def cpu_seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def test_expected_improvement_is_the_integral_of_the_improvement():
    for mean, std, best, xi in ((0.3, 0.7, 0.5, 0.01), (-2.0, 0.5, 0.0, 0.0), (1.0, 0.2, 0.0, 0.1)):
        at = Posterior(np.array([mean]), np.array([std]))
        ends = best + xi, mean + 12 * std
        value = quad(lambda t: (t - ends[0]) * norm.pdf(t, mean, std), *ends, epsabs=1e-12)[0]  # noqa: B023
        assert np.exp(log_expected_improvement(xi)(at, best)[0][0]) == pytest.approx(
            value, abs=1e-8
        )
        share = norm.sf(best + xi, mean, std)
        assert np.exp(log_probability_of_improvement(xi)(at, best)[0][0]) == pytest.approx(share)
        assert upper_confidence_bound(2.0)(at, best)[0][0] == pytest.approx(mean + 2 * std)


def test_the_logarithm_of_h_holds_out_everywhere():
    """Beside the closed form where that is exact, and the first terms of its series far out."""
    z = np.linspace(-5.0, 8.0, 200)
    assert log_h(z)[0] == pytest.approx(np.log(norm.pdf(z) + z * norm.cdf(z)), abs=1e-8)
    far = -np.geomspace(30, 1e8, 50)
    tail = norm.logpdf(far) - 2 * np.log(-far) + np.log1p(-3 / far**2 + 15 / far**4)
    assert log_h(far)[0] == pytest.approx(tail, rel=1e-9)
    for seam in (-1.0, -100.0):
        both = log_h(np.array([seam - 1e-9, seam + 1e-9]))
        assert both[0][1] - both[0][0] == pytest.approx(2e-9 * both[1][0], abs=1e-7)
        assert both[1][0] == pytest.approx(both[1][1], rel=1e-7)
    values, slopes = log_h(-np.geomspace(1e-3, 1e12, 200))
    assert np.isfinite(values).all() and np.isfinite(slopes).all() and (slopes > 0).all()


@pytest.mark.parametrize(
    "acquisition",
    [log_expected_improvement(), log_probability_of_improvement(), upper_confidence_bound()],
)
def test_the_gradients_of_acquisitions_are_those_of_their_differences(acquisition):
    mean, std = np.linspace(-3.0, 1.0, 9), np.geomspace(1e-2, 1.0, 9)
    step = 1e-6 * std

    def at(mean, std):
        return acquisition(Posterior(mean, std), 0.5)

    _, by_mean, by_std = at(mean, std)
    up, down = at(mean + step, std)[0], at(mean - step, std)[0]
    assert by_mean == pytest.approx((up - down) / (2 * step), rel=1e-4)
    up, down = at(mean, std + step)[0], at(mean, std - step)[0]
    assert by_std == pytest.approx((up - down) / (2 * step), rel=1e-4)


def test_nothing_is_expected_of_a_point_that_is_known():
    x, y = data(10, noise=0)
    model = fed(lazy(noise=1e-9, schedule=Every(1000)), x, y)
    best = model.standardised(y.max())
    assert np.exp(log_expected_improvement()(model.posterior(x), best)[0]).max() < 1e-4
