"""The loop that every method of a representation shares; it can be cut off after any epoch."""

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from saddlepoint.datamodules.pixels import to_float
from saddlepoint.datamodules.source import Source
from saddlepoint.datamodules.workers import stream
from saddlepoint.errors import UserError
from saddlepoint.randomness import key_to_seed
from saddlepoint.representations.method import RepresentationMethod

log = logging.getLogger(__name__)

#: Told what is going on: a description, how much is done, and how much there is to do.
Progress = Callable[[str, int, int], None]
#: Everything that training goes on from after an epoch.
State = dict[str, Any]

BATCH = 256  # images in a pass that trains nothing; moves no result


def train(
    method: RepresentationMethod,
    source: Source,
    items: Tensor,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    device: torch.device,
    num_workers: int = 0,
    progress: Progress = lambda *_: None,
    left: State | None = None,
    keep: Callable[[State], None] = lambda state: None,
) -> None:
    """Train a method on images, in place, and leave it in eval mode.

    Whatever is random depends on (seed, epoch, item), so that training that goes on from what was
    kept after an epoch gives the same weights, bit for bit, as one that was never cut off.

    Args:
        method: is built here.
        source: of the images.
        items: (m,) which of them are trained on.
        epochs: times that each image is shown.
        batch_size: images of an update.
        seed: key of all randomness.
        device: where to train.
        num_workers: processes that make views.
        progress: told how far it has come.
        left: what an earlier training has kept; None begins.
        keep: is given the state after every epoch.

    Raises:
        UserError: the loss is not finite.
    """
    torch.manual_seed(key_to_seed(seed, "initial weights"))
    method.build(source.image.shape)
    method.to(device, memory_format=torch.channels_last)
    optimizer = method.optimizer(method.parameters())
    rate = [group["lr"] for group in optimizer.param_groups]
    first = 0
    if left is not None:
        method.load_state_dict(left["method"])
        optimizer.load_state_dict(left["optimizer"])
        first = left["epochs"]
    size = min(batch_size, len(items))
    steps = len(items) // size  # of an epoch; a smaller last batch is left out
    for epoch in range(first, epochs):
        start, total = time.monotonic(), 0.0
        anew = method.begin_epoch(
            epoch, seed, lambda: features_of(method, source, items, device, progress)
        )
        for parameter in anew:
            optimizer.state.pop(parameter, None)
        order = method.order(epoch, seed, len(items))[: steps * size].view(steps, size)
        fetch = partial(_batch, method, source, items, order, (seed, epoch))
        method.train()
        for step, (chosen, views) in enumerate(stream(fetch, steps, num_workers)):
            done = epoch * steps + step
            if method.schedule == "cosine":
                for group, base in zip(optimizer.param_groups, rate, strict=True):
                    group["lr"] = base * (1 + math.cos(math.pi * done / (epochs * steps))) / 2
            views = [v.to(device, memory_format=torch.channels_last) for v in views]
            losses = method.loss(views, chosen)
            loss = sum(losses.values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / steps
            progress(f"training {method.name}", done + 1, epochs * steps)
        if not math.isfinite(total):
            raise UserError(
                f"The loss of {method.name} is not finite in epoch {epoch + 1}: lower the learning"
                " rate, stages.representation.method.optimizer.lr."
            )
        seconds = time.monotonic() - start
        log.info(
            "%s, epoch %d/%d: loss %.4f, %.0f s", method.name, epoch + 1, epochs, total, seconds
        )
        keep(
            {
                "epochs": epoch + 1,
                "method": method.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
        )
    method.eval()


@torch.no_grad()
def features_of(
    method: RepresentationMethod,
    source: Source,
    items: Tensor,
    device: torch.device,
    progress: Progress = lambda *_: None,
) -> Tensor:
    """Features (m, p) float32, on the CPU, of images as they are, in the order of ``items``."""
    method.eval()
    parts = []
    for chosen in items.split(BATCH):
        images = to_float(source.read(chosen).image).to(device, memory_format=torch.channels_last)
        parts.append(method.encode(images).cpu())
        progress("features", sum(map(len, parts)), len(items))
    return torch.cat(parts)


def _batch(
    method: RepresentationMethod,
    source: Source,
    items: Tensor,
    order: Tensor,
    key: tuple[int, int],
    step: int,
) -> tuple[Tensor, list[Tensor]]:
    """Positions among the training images, and their views."""
    chosen = order[step]
    images = source.read(items[chosen]).image
    views = [
        method.augmentation.views(images, items[chosen], *key, view) for view in range(method.views)
    ]
    return chosen, [to_float(images), *views] if method.sees_originals else views
