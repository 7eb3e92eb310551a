"""How a small classifier is trained on labelled images, and how well it then does."""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.pixels import flip_where, to_float
from saddlepoint.datamodules.source import Source
from saddlepoint.datamodules.workers import stream
from saddlepoint.errors import UserError
from saddlepoint.extractors.small_resnet import Outputs
from saddlepoint.extractors.trained_classifier import build_classifier
from saddlepoint.extractors.training_options import TrainingOptions
from saddlepoint.gans.precision import has_fast_bfloat16
from saddlepoint.randomness import key_to_seed, keyed_generator

#: Told what is going on: a description, how much is done, and how much there is to do.
Progress = Callable[[str, int, int], None]

SMALLEST = 8  # pixels
#: Training images shown, in all, where nobody has said how often; and each at most so many times.
USUALLY_SHOWN = 450_000
AT_MOST = 40


class Lesson:
    """What there is to tell in a data set, and which of its images tell how well it is told.

    Where images are stacks of grey ones (the data module has ``digits``) a classifier learns those,
    and those that are held out are stacked for the test.

    Args:
        data: images with classes or attributes.
        options: how to train.

    Raises:
        UserError: the data are no images, too few, or have nothing to tell.
    """

    def __init__(self, data: DataModule, options: TrainingOptions) -> None:
        spec = data.spec
        if len(spec.shape) != 3 or min(spec.shape[1:]) < SMALLEST:
            raise UserError(
                f"{spec.name} has items of shape {spec.shape} and a classifier takes images of"
                f" {SMALLEST} pixels or more: points are scored by their coordinates."
            )
        if spec.num_classes < 2 and not spec.attributes:
            raise UserError(
                f"{spec.name} has neither classes nor attributes, so a classifier has nothing to"
                " tell: choose labelled data."
            )
        self.stacked = hasattr(data, "digits")
        self.source: Source = data.digits() if self.stacked else data.source
        self.shape = spec.shape
        self.num_workers = 0 if self.source.in_memory else data.num_workers
        order = torch.randperm(self.source.count, generator=keyed_generator(options.seed, "split"))
        held_out = round(options.held_out * len(order))
        self.test, self.training = order[:held_out], order[held_out:]
        if min(len(self.test), len(self.training)) < 2:
            raise UserError(
                f"{len(order)} images of {spec.name} do not suffice to train on some and test on"
                f" others (held_out={options.held_out}): give more."
            )

    def usual_epochs(self) -> int:
        """Times that each training image is shown where nobody has said."""
        return min(max(1, round(USUALLY_SHOWN / len(self.training))), AT_MOST)

    def architecture(self, width: int) -> dict[str, Any]:
        """Arguments of `build_classifier`."""
        classes = self.source.names("label")
        return {
            "shape": list(self.shape),
            "num_classes": len(classes) if len(classes) > 1 else 0,
            "num_attributes": len(self.source.names("attributes")),
            "width": width,
            "stacked": self.stacked,
        }

    def batches(self, indices: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Images uint8, classes and attributes at ``indices``, ``size`` at a time."""
        count = math.ceil(len(indices) / size)
        return stream(partial(_batch, self.source, indices, size), count, self.num_workers)

    def test_batches(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """The held-out images; if they are grey ones that are to be stacked, stacks of them."""
        if not self.stacked:
            yield from self.batches(self.test, size)
            return
        channels, classes = self.shape[0], len(self.source.names("label"))
        generator = keyed_generator("stacks")
        drawn = torch.randint(len(self.test), (len(self.test), channels), generator=generator)
        places = classes ** torch.arange(channels - 1, -1, -1)
        for rows in self.test[drawn].split(size):
            digits = self.source.read(rows.flatten())
            images = digits.image.unflatten(0, rows.shape).squeeze(2)
            yield images, digits.label.view(rows.shape) @ places, None


def train_classifier(
    lesson: Lesson,
    options: TrainingOptions,
    report: Callable[[str], None],
    progress: Progress | None = None,
) -> nn.Module:
    """Train a network, see `build_classifier`, on the lesson's training images.

    In bfloat16 and channels last where the hardware is fast at that; on a GPU if there is one.

    Args:
        lesson: what to learn.
        options: how, with a number of epochs.
        report: told in a sentence how each epoch went.
        progress: told how far training has come.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(key_to_seed(options.seed, "initial weights"))
    whole = build_classifier(lesson.architecture(options.width)).to(device)
    whole.to(memory_format=torch.channels_last)
    network = whole.network if lesson.stacked else whole
    size = min(options.batch_size, len(lesson.training))
    steps = len(lesson.training) // size  # of an epoch; a smaller last batch is left out
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=options.learning_rate, total_steps=options.epochs * steps
    )
    fast = torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bfloat16(device))
    losses = torch.zeros(options.epochs, device=device)

    done = 0
    for epoch in range(options.epochs):
        start = time.monotonic()
        generator = keyed_generator(options.seed, "epoch", epoch)
        order = torch.randperm(len(lesson.training), generator=generator)[: steps * size]
        for batch in lesson.batches(lesson.training[order], size):
            images, labels, attributes = _to(device, batch)
            images = augmented(to_float(images), options, generator)
            with fast:
                told = network(images)
            loss = loss_of(told, labels, attributes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses[epoch] += loss.detach() / steps
            done += 1
            if progress is not None:
                progress("training a classifier", done, options.epochs * steps)
        seconds = time.monotonic() - start
        report(f"epoch {epoch + 1}/{options.epochs}: loss {losses[epoch]:.3f}, {seconds:.0f} s")
    return whole.eval()


def accuracy(network: nn.Module, lesson: Lesson, batch_size: int = 500) -> dict[str, float]:
    """Share of right answers on held-out images: ``class``, and each attribute by name."""
    device = next(network.parameters()).device
    right: dict[str, float] = {}
    with torch.no_grad():
        for batch in lesson.test_batches(batch_size):
            images, labels, attributes = _to(device, batch)
            told = network(to_float(images))
            tasks = {} if told.classes is None else {"class": told.classes.argmax(1) == labels}
            if attributes is not None:
                hits = (told.attributes > 0) == (attributes > 0)
                tasks |= dict(zip(lesson.source.names("attributes"), hits.unbind(1), strict=True))
            for task, hit in tasks.items():
                right[task] = right.get(task, 0) + hit.sum().item() / len(lesson.test)
    return right


def loss_of(told: Outputs, labels: Tensor, attributes: Tensor | None) -> Tensor:
    """Cross-entropy of the classes plus that of the attributes, their mean."""
    loss = torch.zeros((), device=labels.device)
    if told.classes is not None:
        loss = loss + F.cross_entropy(told.classes.float(), labels)
    if told.attributes is not None:
        loss = loss + F.binary_cross_entropy_with_logits(
            told.attributes.float(), attributes.float()
        )
    return loss


def augmented(images: Tensor, options: TrainingOptions, generator: torch.Generator) -> Tensor:
    """Shift each image (N, C, H, W), and mirror half of them where that is wanted."""
    if images.shape[1] == 3 if options.flip is None else options.flip:
        flips = torch.randint(2, (len(images),), generator=generator)
        images = flip_where(images, flips.to(images.device))
    most = math.floor(options.shift * min(images.shape[2:]))
    return shifted(images, most, generator) if most else images


def shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Move each image (N, C, H, W) by up to ``most`` pixels; what enters is what left, mirrored."""
    count, _, height, width = images.shape
    padded = F.pad(images, 4 * (most,), mode="reflect")
    corners = torch.randint(2 * most + 1, (2, count, 1), generator=generator)
    rows, columns = (
        (corner + torch.arange(side)).to(images.device)
        for corner, side in zip(corners, (height, width), strict=True)
    )
    each = torch.arange(count, device=images.device)[:, None, None]
    # Indices around a slice put their dimensions first: (N, H, W, C), which is channels last.
    return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _batch(
    source: Source, indices: Tensor, size: int, k: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    items = source.read(indices[k * size : (k + 1) * size])
    labels = items.get("label", torch.zeros(items.count, dtype=torch.int64))
    return items.image, labels, items.get("attributes")


def _to(device: torch.device, batch: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return tuple(None if part is None else part.to(device) for part in batch)
