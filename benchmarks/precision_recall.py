"""How long precision and recall of N features a side take, next to torch-fidelity's.

    python benchmarks/precision_recall.py --images 3000

Features are like Inception's: 2,048 non-negative numbers around a few directions. Both programs
take turns in this process; times are its own CPU seconds. torch-fidelity has two forms: `parts`
goes by blocks as ours does, `whole` keeps all distances in memory.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor
from torch_fidelity.metric_prc import (
    calculate_precision_recall_full,
    calculate_precision_recall_part,
)

from saddlepoint.evaluation.metrics.precision_recall import PrecisionRecall

DIMENSIONS, DIRECTIONS = 2048, 64


def features(count: int, seed: int, shift: float = 0.0) -> Tensor:
    """Features (N, 2048) float32."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(DIRECTIONS, DIMENSIONS, generator=generator) / DIRECTIONS**0.5
    generator.manual_seed(seed)
    along = torch.randn(count, DIRECTIONS, generator=generator) @ directions
    around = 0.2 * torch.randn(count, DIMENSIONS, generator=generator)
    return 0.6 * (along + around + shift).relu()


def ours(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Our precision and recall."""
    sides = ({"vectors": SimpleNamespace(features=side)} for side in (real, fake))
    found = PrecisionRecall().compute(*sides)
    return found["precision"], found["recall"]


FORMS: dict[str, Callable[[Tensor, Tensor], tuple[float, float]]] = {
    "ours": ours,
    "torch-fidelity, parts": lambda real, fake: calculate_precision_recall_part(fake, real),
    "torch-fidelity, whole": lambda real, fake: calculate_precision_recall_full(fake, real),
}


def main() -> None:
    """Print a table: form, CPU seconds, their ratio to ours, precision, recall."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3000, help="on each side")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    real, fake = features(options.images, 1), features(options.images, 2, shift=0.05)
    times: dict[str, list[float]] = {name: [] for name in FORMS}
    scores = {}
    for _ in range(options.repeats):
        for name, form in FORMS.items():
            start = time.process_time()
            scores[name] = form(real, fake)
            times[name].append(time.process_time() - start)
    seconds = {name: statistics.median(each) for name, each in times.items()}
    print(f"{options.images} features a side, {options.threads} thread(s)")
    for name, (precision, recall) in scores.items():
        print(
            f"{name:<24}{seconds[name]:>8.2f} s{seconds[name] / seconds['ours']:>8.2f}x"
            f"   precision {precision:.6f}   recall {recall:.6f}"
        )


if __name__ == "__main__":
    main()
