"""What the lazy Gaussian process of `hydra/sweeper=lazy_gp` costs, and what it finds.

    OMP_NUM_THREADS=1 python benchmarks/lazy_gp.py --part cost
    OMP_NUM_THREADS=1 python benchmarks/lazy_gp.py --part regret

cost: CPU seconds of a suggestion after n points of Levy's function in five dimensions (100 to begin
with and 500 more, as in the scripts that came with Ram et al. 2019). Beside it is the classical
procedure with the settings of those scripts: scikit-learn's Gaussian process fitted anew to all
points, one length scale, one restart, 10,000 candidates and ten searches with numerical gradients;
and Optuna's GPSampler.
regret: how far from the minimum the best point is, for the lazy process, the same one fitted anew
after each point, and random search.

Results lie in lazy_gp.json of the folder; what is there already is not measured again.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import norm

from saddlepoint.search.acquisition import log_expected_improvement
from saddlepoint.search.lazy_study import LazyStudy
from saddlepoint.search.refit import Geometric
from saddlepoint.search.space import Interval, Space
from saddlepoint.search.study import Search
from saddlepoint.search.surrogate import LazyGaussianProcess
from saddlepoint.search.trial import Trial

Array = NDArray[np.float64]

BEGINNING, END = 100, 600
SIZES = (100, 200, 300, 400, 500, 600)
SEEDS = 10
POINTS = {"Branin": 40, "Hartmann-6": 80, "Levy-5": 80}


def levy(x: Array) -> float:
    """Levy's function: minimum 0 at (1, .., 1), on [-10, 10]^d."""
    w = 1 + (x - 1) / 4
    inner = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)).sum()
    last = (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
    return float(np.sin(np.pi * w[0]) ** 2 + inner + last)


def branin(x: Array) -> float:
    """Branin's function: minimum 0.397887, on [-5, 10] x [0, 15]."""
    a, b = x
    bowl = (b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6) ** 2
    return float(bowl + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10)


def hartmann6(x: Array) -> float:
    """Hartmann's function in six dimensions: minimum -3.32237, on [0, 1]^6."""
    heights = np.array([1.0, 1.2, 3.0, 3.2])
    widths = np.array(
        [
            [10, 3, 17, 3.5, 1.7, 8],
            [0.05, 10, 17, 0.1, 8, 14],
            [3, 3.5, 1.7, 10, 17, 8],
            [17, 8, 0.05, 10, 0.1, 14],
        ]
    )
    places = 1e-4 * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    )
    return float(-heights @ np.exp(-(widths * (x - places) ** 2).sum(axis=1)))


#: Function, its minimum, and its box.
FUNCTIONS: dict[str, tuple[Callable[[Array], float], float, list[tuple[float, float]]]] = {
    "Branin": (branin, 0.397887, [(-5.0, 10.0), (0.0, 15.0)]),
    "Hartmann-6": (hartmann6, -3.32237, [(0.0, 1.0)] * 6),
    "Levy-5": (levy, 0.0, [(-10.0, 10.0)] * 5),
}


class InMemory(LazyStudy):
    """A study without a file."""

    def write(self) -> None:
        """Write nothing."""


def space_of(box: list[tuple[float, float]]) -> Space:
    """The box as a space."""
    return Space(tuple(Interval(f"x{i}", *ends) for i, ends in enumerate(box)))


def study_of(box: list[tuple[float, float]], seed: int, n_init: int, **options: object) -> InMemory:
    """A study of a function that is minimised."""
    search = Search(space_of(box), folder=Path("nowhere"), seed=seed, direction="smaller")
    acquisition = log_expected_improvement()
    return InMemory(search, n_init=n_init, acquisition=acquisition, **options)


def tell(study: InMemory, trial: Trial, function: Callable[[Array], float]) -> float:
    """Evaluate a trial's point and tell the study."""
    value = function(np.array(list(trial.values.values())))
    trial.complete([value])
    study.tell(trial)
    return value


def classical(x: Array, y: Array, rng: np.random.Generator) -> tuple[float, float]:
    """CPU seconds of the classical procedure's fit and of its suggestion, after points (n, 5)."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern

    start = time.process_time()
    model = GaussianProcessRegressor(
        Matern(length_scale=1.0, nu=2.5), alpha=1e-6, n_restarts_optimizer=1, random_state=0
    )
    model.fit(x, -(y - y.mean()))
    fitted = time.process_time()
    best = -(y - y.mean()).min()

    def loss(points: Array) -> Array:
        mean, std = model.predict(np.atleast_2d(points), return_std=True)
        z = (mean - best - 0.01) / np.maximum(std, 1e-12)
        return -((mean - best - 0.01) * norm.cdf(z) + std * norm.pdf(z))

    loss(rng.uniform(-10, 10, size=(10_000, 5)))
    for begin in rng.uniform(-10, 10, size=(10, 5)):
        minimize(lambda p: loss(p)[0], begin, method="L-BFGS-B", bounds=[(-10, 10)] * 5)
    return fitted - start, time.process_time() - start


def gp_sampler(x: Array, y: Array) -> float:
    """CPU seconds of a suggestion of Optuna's GPSampler, after points (n, 5)."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.GPSampler(seed=0))
    wide = {f"x{i}": optuna.distributions.FloatDistribution(-10, 10) for i in range(5)}
    for point, value in zip(x, y, strict=True):
        params = {f"x{i}": float(p) for i, p in enumerate(point)}
        study.add_trial(optuna.create_trial(params=params, distributions=wide, value=value))
    start = time.process_time()
    study.ask(fixed_distributions=wide)
    return time.process_time() - start


def lazy_run() -> dict[str, object]:
    """A whole search by the lazy process: CPU seconds of each suggestion, and of its surrogate.

    The noise is fixed at 1e-6, as in the classical procedure.
    """
    function, _, box = FUNCTIONS["Levy-5"]
    study = study_of(box, seed=0, n_init=BEGINNING, noise=1e-6)
    suggestions, surrogate = [], []
    values: list[float] = []
    points: list[list[float]] = []
    for _ in range(END):
        if len(values) >= BEGINNING:  # what `ask` would do first
            start = time.process_time()
            study.learn()
            surrogate.append(time.process_time() - start)
        start = time.process_time()
        (trial,) = study.ask(1)
        suggestions.append(time.process_time() - start)
        values.append(tell(study, trial, function))
        points.append(list(trial.values.values()))
    suggestions = [s + u for s, u in zip(suggestions[BEGINNING:], surrogate, strict=True)]
    return {"surrogate": surrogate, "suggestion": suggestions, "x": points, "y": values}


def measure_cost(results: dict, keep: Callable[[], None]) -> None:
    """Fill in what is missing of the costs."""
    if "lazy" not in results:
        results["lazy"] = lazy_run()
        keep()
    x, y = np.array(results["lazy"]["x"]), np.array(results["lazy"]["y"])
    if "kept" not in results:
        results["kept"] = kept_hyperparameters(x / 20 + 0.5, -y)
        keep()
    for n in SIZES:
        for name in ("classical", "gp_sampler", "extension"):
            known = results.setdefault(name, {})
            if str(n) in known:
                continue
            if name == "classical":
                known[str(n)] = classical(x[:n], y[:n], np.random.default_rng(n))
            elif name == "gp_sampler":
                known[str(n)] = gp_sampler(x[:n], y[:n])
            else:
                known[str(n)] = extension(x[:n] / 20 + 0.5, -y[:n])
            keep()


def extension(x: Array, y: Array, repeats: int = 10) -> float:
    """CPU seconds of one more point without a refit, from n - 10 points to n."""
    model = LazyGaussianProcess(x.shape[1], Geometric(1e9), noise=1e-6)
    for n in range(1, len(x) - repeats + 1):
        model.see(x[n - 1], y[:n])
    start = time.process_time()
    for n in range(len(x) - repeats + 1, len(x) + 1):
        model.see(x[n - 1], y[:n])
    return (time.process_time() - start) / repeats


def kept_hyperparameters(x: Array, y: Array) -> float:
    """CPU seconds of the surrogate with those learned at the beginning, as in the paper's scripts.

    Their lag is 10,000 points; the points are those of the lazy run, in the unit cube.
    """
    schedule = Geometric(1e9)
    model = LazyGaussianProcess(x.shape[1], schedule, noise=1e-6)
    for n in range(1, BEGINNING):
        model.see(x[n - 1], y[:n])
    schedule.refitted_at = 0
    start = time.process_time()
    for n in range(BEGINNING, END + 1):
        model.see(x[n - 1], y[:n])
        assert n == BEGINNING or list(model.refits)[-1] == BEGINNING
    return time.process_time() - start


def measure_regret(results: dict, keep: Callable[[], None]) -> None:
    """Fill in what is missing of the regrets."""
    for name, (function, minimum, box) in FUNCTIONS.items():
        for method, options in {"lazy": {}, "full": {"refit": 1}, "random": None}.items():
            for seed in range(SEEDS):
                known = results.setdefault(name, {}).setdefault(method, {})
                if str(seed) in known:
                    continue
                start = time.process_time()
                if options is None:
                    low, high = np.array(box).T
                    rng = np.random.default_rng(seed)
                    drawn = rng.uniform(low, high, size=(POINTS[name], len(box)))
                    values = [function(point) for point in drawn]
                else:
                    study = study_of(box, seed, n_init=10, **options)
                    values = [tell(study, study.ask(1)[0], function) for _ in range(POINTS[name])]
                regret = np.minimum.accumulate(values) - minimum
                seconds = time.process_time() - start
                known[str(seed)] = {"regret": regret.tolist(), "seconds": seconds}
                keep()


def print_cost(results: dict) -> None:
    """Print the table of the costs."""
    lazy = {key: np.array(results["lazy"][key]) for key in ("surrogate", "suggestion")}
    print("CPU seconds for one suggestion after n points; surrogate: what comes before candidates")
    columns = ["n", "lazy", "classical", "ratio", "GPSampler", "ratio"]
    columns += ["surrogate: a row", "classical fit", "ratio"]
    print("".join(f"{column:>17}" for column in columns))
    for n in SIZES:
        fit, whole = results["classical"][str(n)]
        around = slice(max(0, n - BEGINNING - 50), max(50, n - BEGINNING))
        mine = float(lazy["suggestion"][around].mean())  # refits included
        row, theirs = results["extension"][str(n)], results["gp_sampler"][str(n)]
        cells = [f"{n}", f"{mine:.4f}", f"{whole:.2f}", f"{whole / mine:.0f}", f"{theirs:.2f}"]
        cells += [f"{theirs / mine:.0f}", f"{row:.5f}", f"{fit:.2f}", f"{fit / row:.0f}"]
        print("".join(f"{cell:>17}" for cell in cells))
    known = np.arange(BEGINNING, END)
    fits, wholes = (
        np.interp(known, SIZES, [results["classical"][str(n)][part] for n in SIZES]).sum()
        for part in (0, 1)
    )
    for what, mine, theirs in (
        ("surrogate, hyper-parameters of the beginning kept", results["kept"], fits),
        ("surrogate, refits included", lazy["surrogate"].sum(), fits),
        ("all of a suggestion", lazy["suggestion"].sum(), wholes),
    ):
        print(
            f"{END - BEGINNING} suggestions, {what}: lazy {mine:.1f} s (measured), classical"
            f" {theirs:.0f} s (between the measured n), ratio {theirs / mine:.0f}"
        )


def print_regret(results: dict) -> None:
    """Print the table of the regrets."""
    print(f"simple regret, median [quartiles] over {SEEDS} seeds; CPU seconds of a search")
    for name, methods in results.items():
        for method, runs in methods.items():
            final = [run["regret"][-1] for run in runs.values()]
            low, median, high = np.percentile(final, (25, 50, 75))
            seconds = np.mean([run["seconds"] for run in runs.values()])
            points = len(next(iter(runs.values()))["regret"])
            print(
                f"{name:>12} {method:>7} {points:4d} points: {median:.2e}"
                f" [{low:.2e}, {high:.2e}], {seconds:.2f} s"
            )


def draw(everything: dict, path: Path) -> None:
    """Write the picture of what has been measured."""
    figure = Figure(figsize=(14, 3.4), layout="constrained")
    panels = figure.subplots(1, 1 + len(FUNCTIONS))
    if "lazy" in (cost := everything.get("cost", {})):
        lazy = cost["lazy"]["suggestion"]
        panels[0].plot(np.arange(BEGINNING, END), lazy, ".", markersize=2, label="lazy, every one")
        for name, label in {"classical": "classical", "gp_sampler": "GPSampler"}.items():
            sizes = [n for n in SIZES if str(n) in cost.get(name, {})]
            seconds = [np.max(cost[name][str(n)]) for n in sizes]
            panels[0].plot(sizes, seconds, "o-", label=label)
        panels[0].set_yscale("log")
        panels[0].set_xlabel("points")
        panels[0].set_title("CPU s for a suggestion", fontsize="medium")
        panels[0].legend(fontsize="small")
    for panel, (name, methods) in zip(
        panels[1:], everything.get("regret", {}).items(), strict=False
    ):
        for method, runs in methods.items():
            regrets = np.array([run["regret"] for run in runs.values()])
            low, median, high = np.percentile(regrets, (25, 50, 75), axis=0)
            numbers = np.arange(1, len(median) + 1)
            panel.plot(numbers, median, label=method)
            panel.fill_between(numbers, low, high, alpha=0.15)
        panel.set_yscale("log")
        panel.set_xlabel("points")
        panel.set_title(f"{name}: regret", fontsize="medium")
        panel.legend(fontsize="small")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure what is missing, print the tables, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["cost", "regret"], help="the other part is left as is")
    parser.add_argument("--folder", type=Path, default=Path("outputs/lazy_gp"))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # scikit-learn's, on length scales at their bounds
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = arguments.folder / "lazy_gp.json"
    everything = json.loads(path.read_text()) if path.exists() else {}

    def keep() -> None:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(everything))
        temporary.replace(path)

    parts = {"cost": (measure_cost, print_cost), "regret": (measure_regret, print_regret)}
    for part, (measure, show) in parts.items():
        if arguments.part in (None, part):
            measure(everything.setdefault(part, {}), keep)
            show(everything[part])
    draw(everything, arguments.folder / "lazy_gp.png")


if __name__ == "__main__":
    main()
