"""Whether a search finds better settings for the embedded faces than random points do.

    OMP_NUM_THREADS=1 python benchmarks/search_faces.py --points 12 --seeds 3

Both methods get as many points, of equal cost: small networks, 120 iterations, scored by the FD of
1,000 samples under the features of the avatars' classifier. What is searched are both learning
rates and the loss. A search that was cut off goes on; one that is done is not repeated.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
SPACE = [
    "gan.generator_optimizer.lr=tag(log,interval(1e-5,1e-1))",
    "gan.discriminator_optimizer.lr=tag(log,interval(1e-5,1e-1))",
    "loss=hinge,non_saturating,wasserstein",
]
SMALL = [
    *(
        "experiment=small",
        "gan=sngan",
        "network.generator.width=32",
        "network.discriminator.width=32",
    ),
    *("batch_size=32", "iterations=120", "trainer=cpu", "protocol=none"),
    *("sample_every=1000", "score_every=1000", "checkpoint_every=1000"),
    *("monitor=quick", "monitor.num_fake=1000"),
]
METHODS = {
    "lazy_gp": ["hydra/sweeper=lazy_gp", "hydra.sweeper.log_score=true"],
    "random": [
        "hydra/sweeper=optuna",
        "hydra.sweeper.sampler._target_=optuna.samplers.RandomSampler",
    ],
}


def best_of(method: str, seed: int, points: int, n_init: int, folder: Path) -> float:
    """Search, unless it is done already; return the best score."""
    there = folder / f"{method}-{seed}"
    results = there / "optimization_results.yaml"
    if not results.exists() or yaml.safe_load(results.read_text())["points"] < points:
        options = [f"hydra.sweeper.n_trials={points}", f"hydra.sweeper.seed={seed}", f"seed={seed}"]
        options += [f"hydra.sweeper.n_init={n_init}"] if method == "lazy_gp" else []
        options += [f"hydra.sweep.dir={there}", f"output_dir={there}/runs"]
        words = ["-m", *METHODS[method], *SPACE, *SMALL, *options]
        # Points that failed make another exit code than 0, and are no reason to stop.
        subprocess.run([sys.executable, str(ROOT / "train.py"), *words], cwd=ROOT)
    return yaml.safe_load(results.read_text())["best_evaluated_result"]


def main() -> None:
    """Search with every method and seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=12, help="of each search")
    parser.add_argument("--n-init", type=int, default=5, help="points before the model is asked")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("outputs/search_faces"))
    arguments = parser.parse_args()
    table: dict[str, list[float]] = {method: [] for method in METHODS}
    folder = arguments.folder.resolve()
    for seed in range(arguments.seeds):
        for method, scores in table.items():
            scores.append(best_of(method, seed, arguments.points, arguments.n_init, folder))
    print(f"best FD/avatar-classifier of {arguments.points} points, by seed")
    for method, scores in table.items():
        print(f"{method:>8}: {'  '.join(f'{s:8.1f}' for s in scores)}, mean {_mean(scores)}")
    pairs = zip(table["lazy_gp"], table["random"], strict=True)
    won = sum(lazy < random for lazy, random in pairs)
    print(f"lazy_gp is the better one in {won} of {arguments.seeds} seeds")


def _mean(scores: list[float]) -> str:
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    return f"{statistics.fmean(scores):.1f} +- {spread:.1f}"


if __name__ == "__main__":
    main()
