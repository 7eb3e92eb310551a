"""Memory and time of the InfoMax term, next to the form that writes all logits out.

    python benchmarks/infomax.py --threads 1
    python benchmarks/infomax.py --device cuda

Three forms of one loss, forward and backward, heads included:

    naive       projects all features and makes the (N, L, 1 + N L) logits of the reference
    logsumexp   projects all features; one sum over negatives for each image
    term        as trained: the same sum, without local projections (losses/infomax.py)

Peak memory is what one forward and backward pass needs on top of networks and features: the rise of
the process's largest resident set, in a process of its own for each form, or of CUDA's allocations.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from saddlepoint.gans.networks.resnet import ResNetDiscriminator  # noqa: E402
from saddlepoint.losses.infomax import MASKS, InfoMax, info_nce  # noqa: E402


def naive(term: InfoMax, pooled: Tensor, local: Tensor) -> Tensor:
    """InfoNCE over the logits of all anchors, (N, L, 1 + N L)."""
    projected, locals_ = term.global_head(pooled), term.local_head(local).flatten(2)
    n, _, positions = locals_.shape
    scores = torch.einsum("ir,jrp->ijp", projected, locals_)
    own = torch.eye(n, dtype=torch.bool, device=scores.device)[:, :, None]
    others = scores.masked_fill(own, MASKS[term.mask]).flatten(1)
    logits = torch.cat(
        [scores.diagonal().T[:, :, None], others[:, None].expand(-1, positions, -1)], dim=2
    )
    return -F.log_softmax(logits, dim=2)[:, :, 0].mean()


def logsumexp(term: InfoMax, pooled: Tensor, local: Tensor) -> Tensor:
    """InfoNCE from the scores (N, N, L) of projected features."""
    projected, locals_ = term.global_head(pooled), term.local_head(local).flatten(2)
    return info_nce(torch.einsum("ir,jrp->ijp", projected, locals_), mask=term.mask)


def as_trained(term: InfoMax, pooled: Tensor, local: Tensor) -> Tensor:
    """The loss of `InfoMax`."""
    return info_nce(term.scores(pooled, local), mask=term.mask)


FORMS: dict[str, Callable[[InfoMax, Tensor, Tensor], Tensor]] = {
    "naive": naive,
    "logsumexp": logsumexp,
    "term": as_trained,
}


def measure(name: str, images: int, repeats: int, device: str) -> tuple[float, float, float]:
    """Peak memory in MB, median seconds, and the loss of one form; 32 px features, L = 64."""
    torch.manual_seed(0)
    discriminator = ResNetDiscriminator(shape=(3, 32, 32))
    term = InfoMax()
    term.attach(discriminator)
    term.eval().to(device)  # the singular vectors stand still: all forms have the same loss

    def features(n: int) -> list[Tensor]:
        shapes = (n, discriminator.pooled_features), (n, discriminator.local_channels, 8, 8)
        generator = torch.Generator().manual_seed(0)
        drawn = (torch.randn(shape, generator=generator).relu().to(device) for shape in shapes)
        return [tensor.requires_grad_() for tensor in drawn]

    def once(inputs: list[Tensor]) -> float:
        loss = FORMS[name](term, *inputs)
        loss.backward()
        return loss.detach().item()

    once(features(2))  # loads kernels, allocates gradients
    inputs = features(images)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    loss = once(inputs)
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        once(inputs)
        seconds.append(time.perf_counter() - start)
    return (peak - before) / 1e6, statistics.median(seconds), loss


def main() -> None:
    """Print a table: form, peak memory, seconds, loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64, help="N; L is 64")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; default: torch's")
    arguments = parser.parse_args()
    print(f"N = {arguments.images}, L = 64, c = d = 128, R = 1024, {arguments.device}")
    print(f"{'form':<12}{'peak memory':>14}{'time':>12}{'loss':>12}")
    # Peaks of a process never fall: a fresh one for each form.
    threads = (arguments.threads,) if arguments.threads else ()
    with multiprocessing.get_context("spawn").Pool(
        1, torch.set_num_threads if threads else None, threads, maxtasksperchild=1
    ) as pool:
        for name in FORMS:
            megabytes, seconds, loss = pool.apply(
                measure, (name, arguments.images, arguments.repeats, arguments.device)
            )
            print(f"{name:<12}{megabytes:>11.1f} MB{seconds * 1e3:>9.1f} ms{loss:>12.5f}")


if __name__ == "__main__":
    main()
