"""How long the Frechet distance takes, next to torch-fidelity's, in turns in one process.

    python benchmarks/frechet.py --features 2048 --images 5000 --threads 1

Both start from the moments of the same features; torch-fidelity gets them in float64.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--features", type=int, default=2048, help="dimensions of a feature")
parser.add_argument("--images", type=int, default=5000, help="images on each side")
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
arguments = parser.parse_args()
# numpy and torch have a linear algebra library each, and both read this when they are imported.
for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ[f"{library}_NUM_THREADS"] = str(arguments.threads)

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch_fidelity.metric_fid import (  # noqa: E402
    fid_features_to_statistics,
    fid_statistics_to_metric,
)

from saddlepoint.evaluation.frechet import FeatureStatistics, frechet_distance  # noqa: E402


def features_like_those_of_images(count: int, dimensions: int, seed: int) -> Tensor:
    """Features (count, d) with a spectrum like that of Inception's on CIFAR-10."""
    directions = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))
    k = torch.arange(dimensions)
    eigenvalues = torch.exp(-k / 400) / (1 + k / 3)  # fitted to 800 images, within a factor of 2
    return ((noise * eigenvalues.sqrt()) @ directions / dimensions**0.5 + 0.01 * seed).double()


def statistics_of(features: Tensor) -> FeatureStatistics:
    """Moments of features that come in batches of 500."""
    result = FeatureStatistics()
    for batch in features.split(500):
        result.update(batch)
    return result


def timed(function: Callable[[], float]) -> tuple[float, float, float]:
    """Return the seconds that a call took, those its threads worked, and its result."""
    start, start_of_work = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - start, time.process_time() - start_of_work, result


def main() -> None:
    """Print seconds, ratios to torch-fidelity's, values, and relative differences to its."""
    features = [
        features_like_those_of_images(arguments.images, arguments.features, seed) for seed in (1, 2)
    ]
    theirs = [fid_features_to_statistics(f) for f in features]
    real, generated = map(statistics_of, features)
    cached = statistics_of(features[0])
    if not (cached.is_low_rank and generated.is_low_rank):
        frechet_distance(cached, generated)

    def torch_fidelity() -> float:
        return fid_statistics_to_metric(*theirs, verbose=False)["frechet_inception_distance"]

    def first() -> float:
        fresh = FeatureStatistics.from_state(real.state())
        return frechet_distance(fresh, generated)

    def next_() -> float:
        return frechet_distance(cached, generated)

    runs = {"torch-fidelity": torch_fidelity, "first distance": first, "every next one": next_}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    work: dict[str, list[float]] = {name: [] for name in runs}
    values: dict[str, float] = {}
    for _ in range(arguments.repeats):
        for name, run in runs.items():
            taken, worked, values[name] = timed(run)
            seconds[name].append(taken)
            work[name].append(worked)

    print(
        f"Frechet distance, {arguments.features} features, {arguments.images} images a side,"
        f" {torch.get_num_threads()} thread(s), torch {torch.__version__}; medians of"
        f" {arguments.repeats}"
    )
    for name in runs:
        columns = []
        for measured, unit in ((seconds, "s"), (work, "CPU s")):
            median = statistics.median(measured[name])
            ratio = statistics.median(measured["torch-fidelity"]) / median
            columns.append(f"{median:7.3f} {unit} ({ratio:5.1f}x)")
        difference = values[name] / values["torch-fidelity"] - 1
        print(f"{name:>15}: {', '.join(columns)}, {values[name]:.9g} ({difference:+.1e})")


if __name__ == "__main__":
    main()
