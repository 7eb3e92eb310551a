"""How long the scores of N images take, and how much memory, next to torch-fidelity's.

    python benchmarks/evaluation.py --images 5000 --threads 1
    python benchmarks/evaluation.py --images 50000 --device cuda

Both get the same images and an Inception network with the same random weights, which cost as much
as the real ones. Each run has a process of its own; those of both take turns.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Our metrics, torch-fidelity's names of them, and of their first values.
SCORES = {
    "fid": ("fid", "FID", "frechet_inception_distance"),
    "inception_score": ("isc", "IS", "inception_score_mean"),
    "kid": ("kid", "KID", "kernel_inception_distance_mean"),
    "precision_recall": ("prc", "precision", "precision"),
}
SIDES = ("torch-fidelity", "ours")
TIMES = ("seconds", "seconds in network")

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--images", type=int, default=5000, help="images on each side")
parser.add_argument("--size", type=int, default=32, help="their height and width")
parser.add_argument("--scores", nargs="+", choices=SCORES, default=list(SCORES))
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--repeats", type=int, default=1)
parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
parser.add_argument("--weights", help=argparse.SUPPRESS)
arguments = parser.parse_args()
for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ[f"{library}_NUM_THREADS"] = str(arguments.threads)

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.utils.data import Dataset  # noqa: E402
from torch_fidelity import calculate_metrics  # noqa: E402
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # noqa: E402

from saddlepoint.datamodules.base import DataModule  # noqa: E402
from saddlepoint.datamodules.fields import Image  # noqa: E402
from saddlepoint.datamodules.source import Source  # noqa: E402
from saddlepoint.evaluation.evaluator import Evaluator  # noqa: E402
from saddlepoint.evaluation.fakes import GivenFakes  # noqa: E402
from saddlepoint.extractors.inception import InceptionV3Compat, _Network  # noqa: E402
from saddlepoint.extractors.inception_weights import InceptionWeights  # noqa: E402


def smooth_noise(seed: int) -> Tensor:
    """Images (N, 3, H, W) uint8."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(arguments.images, 3, 8, 8, generator=generator) * 255 / seed
    return nn.functional.interpolate(noise, arguments.size, mode="bilinear").to(torch.uint8)


class Data(DataModule):
    """Images for us."""

    def __init__(self, seed: int) -> None:
        super().__init__(f"noise {seed}", num_workers=0)
        self.seed = seed

    def load(self) -> Source:
        """All of one class."""
        images = smooth_noise(self.seed)
        return Source(image=Image(images))


class Images(Dataset):
    """Images for torch-fidelity."""

    def __init__(self, seed: int) -> None:
        self.images = smooth_noise(seed)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


class TheSameWeights(InceptionV3Compat):
    """The network with weights that are not those of FID."""

    def find(self) -> InceptionWeights:
        """No hash is looked at."""
        return InceptionWeights(Path(arguments.weights), "benchmark", has_classifier=True)


def write_random_weights(path: Path) -> None:
    """Weights under which activations keep their scale."""
    torch.manual_seed(0)
    network = _Network(["2048", "logits_unbiased"])
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)


def subset_size() -> int:
    """Images in a subset of KID."""
    return min(1000, arguments.images)


def ours() -> dict[str, float]:
    """Our evaluation."""
    options = {"kid": {"subset_size": subset_size()}}
    scores = {name: options.get(name) for name in arguments.scores}
    size = arguments.batch_size
    evaluator = Evaluator(TheSameWeights(), scores, num_fake=arguments.images, batch_size=size)
    return evaluator.prepare(Data(1), arguments.device).score(GivenFakes(Data(2))).means


def torch_fidelity() -> dict[str, float]:
    """torch-fidelity's evaluation; its loader's worker processes would hide memory."""
    values = calculate_metrics(
        input1=Images(2),
        input2=Images(1),
        feature_extractor_weights_path=arguments.weights,
        **{SCORES[name][0]: True for name in arguments.scores},
        kid_subset_size=subset_size(),
        batch_size=arguments.batch_size,
        save_cpu_ram=True,
        cuda=arguments.device == "cuda",
        cache=False,
        verbose=False,
    )
    return {SCORES[name][1]: values[SCORES[name][2]] for name in arguments.scores}


def measure() -> dict[str, Any]:
    """One evaluation in this process: seconds, those of them in the network, memory, scores."""
    run, network = {
        "ours": (ours, InceptionV3Compat),
        "torch-fidelity": (torch_fidelity, FeatureExtractorInceptionV3),
    }[arguments.side]
    forward, in_network = network.forward, [0.0, 0.0]

    def timed(*args: Any) -> Any:
        start = clocks()
        result = forward(*args)
        in_network[:] = [a + b - c for a, b, c in zip(in_network, clocks(), start, strict=True)]
        return result

    network.forward = timed
    before, start = peak_memory(), clocks()
    scores = run()
    seconds, work = (a - b for a, b in zip(clocks(), start, strict=True))
    return {
        "seconds": seconds,
        "CPU seconds": work,
        "seconds in network": in_network[0],
        "CPU seconds in network": in_network[1],
        "MiB": peak_memory() - before,
        "scores": scores,
    }


def clocks() -> tuple[float, float]:
    """Seconds that have passed, and that this process has worked."""
    if arguments.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def peak_memory() -> float:
    """Largest memory of this process so far, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    """Print seconds and memory of both, ratios to torch-fidelity's, and differences of scores."""
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pth"
        write_random_weights(weights)
        for side in SIDES * arguments.repeats:
            command = [sys.executable, __file__, *sys.argv[1:]]
            command += [f"--side={side}", f"--weights={weights}"]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results[side].append(json.loads(output.splitlines()[-1]))
    print(
        f"{', '.join(arguments.scores)} of {arguments.images} images of {arguments.size} px a side,"
        f" {arguments.threads} thread(s), torch {torch.__version__}; medians of"
        f" {arguments.repeats}"
    )
    for key in [key for key in results["ours"][0] if key != "scores"]:
        theirs, mine = (statistics.median(r[key] for r in results[side]) for side in SIDES)
        print(f"{key:>22}: {theirs:9.1f} torch-fidelity {mine:9.1f} ours ({theirs / mine:.2f}x)")
    for side in SIDES:
        seconds, inside = (statistics.median(r[k] for r in results[side]) for k in TIMES)
        print(
            f"{side:>22}: {2 * arguments.images / seconds:.0f} images/s,"
            f" {1 - inside / seconds:.1%} of the time outside the network"
        )
    theirs, mine = (results[side][0]["scores"] for side in SIDES)
    for name, value in theirs.items():
        print(f"{name:>22}: {value:.9g} torch-fidelity, {mine[name] / value - 1:+.1e} ours")


if __name__ == "__main__":
    if arguments.side:
        print(json.dumps(measure()))
    else:
        main()
