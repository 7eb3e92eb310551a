"""How long the Frechet distance takes, next to torch-fidelity's, in turns in one process.

    python benchmarks/evaluation.py --features 2048 --images 5000 --threads 1

Both start from the moments of the same features; torch-fidelity gets them in float64.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evaluation.frechet import FeatureStatistics, frechet_distance  # noqa: E402


def features_like_those_of_images(count: int, dimensions: int, seed: int) -> Tensor:
    """Correlated, non-negative features (count, d) whose spectrum falls off by a factor 1000."""
    mixing = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))
    scales = torch.logspace(0, -3, dimensions)
    return torch.relu((noise * scales) @ mixing / dimensions**0.5 + 0.3 + 0.02 * seed).double()


def statistics_of(features: Tensor) -> FeatureStatistics:
    """Moments of features that come in batches of 500."""
    result = FeatureStatistics()
    for batch in features.split(500):
        result.update(batch)
    return result


def timed(function: Callable[[], float]) -> tuple[float, float]:
    """Return the seconds that a call took, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def main() -> None:
    """Print a table: seconds (median), ratio, relative difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=int, default=2048, help="dimensions of a feature")
    parser.add_argument("--images", type=int, default=5000, help="images on each side")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; default: torch's")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)

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
    values: dict[str, float] = {}
    for _ in range(arguments.repeats):
        for name, run in runs.items():
            taken, values[name] = timed(run)
            seconds[name].append(taken)

    print(
        f"Frechet distance, {arguments.features} features, {arguments.images} images a side,"
        f" {torch.get_num_threads()} thread(s), torch {torch.__version__}"
    )
    reference = statistics.median(seconds["torch-fidelity"])
    for name in runs:
        median = statistics.median(seconds[name])
        difference = values[name] / values["torch-fidelity"] - 1
        print(
            f"{name:>15}: {median:8.3f} s, {reference / median:6.1f}x,"
            f" distance {values[name]:.9g} (relative difference {difference:+.1e})"
        )


if __name__ == "__main__":
    main()
