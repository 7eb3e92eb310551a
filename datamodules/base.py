"""The data module that all data sets share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from saddlepoint.datamodules.cache import decoded
from saddlepoint.datamodules.digest import digest_in_memory, digest_of_files
from saddlepoint.datamodules.order import Plan
from saddlepoint.datamodules.resident_blocks import ResidentBlocks
from saddlepoint.datamodules.source import EncodedImages, InMemory, Source
from saddlepoint.datamodules.streamed_blocks import StreamedBlocks
from saddlepoint.datamodules.workers import stream, usable_workers
from saddlepoint.errors import UserError
from saddlepoint.items import Items

#: Sets up to this size are decoded once and served from memory, resident or not.
DECODED_AT_MOST = 4 * 2**30


@dataclass(frozen=True)
class DataSpec:
    """What a data set is.

    Attributes:
        name: as it stands in records.
        shape: (C, H, W) of an image, (2,) of a point.
        num_items: how many there are.
        classes: names of the classes; empty if there are none.
        attributes: names of the binary attributes; empty if there are none.
        digest: identifies exactly the data served, see `datamodules.digest`.
    """

    name: str
    shape: tuple[int, ...]
    num_items: int
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    digest: str

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 if there are none."""
        return len(self.classes)

    @property
    def fields(self) -> dict[str, tuple[int, ...]]:
        """Shape of one item's field, by name."""
        return {"image": self.shape, "label": (), "attributes": (len(self.attributes),)}

    def plain(self) -> dict[str, Any]:
        """Plain values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "DataSpec":
        """From `plain`."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()})


class DataModule(pl.LightningDataModule, ABC):
    """Serves one block of reals for each iteration of a run, in the order that `plan` fixes.

    A data set says what it holds: `load`. Everything else is here. Sets below ``resident_mb`` live
    on the training device, others stream through workers; a run cannot tell which.

    Args:
        name: of the data set, as it stands in records.
        flip: whether half of the images, anew in every epoch, are mirrored left and right.
        resident: True keeps the data on the training device, False streams them, None decides by
            ``resident_mb``.
        resident_mb: largest size in MiB, as uint8, that is kept on the training device.
        num_workers: processes that read and decode; None takes one for each core, at most 8.
        cache_dir: where decoded images are kept for the next run; None keeps none.
    """

    #: Name under conf/protocol of what suits the data where nothing is said; None: nothing does.
    protocol: str | None = "fid10k"
    #: Name of the extractor that suits pictures of them; None: Inception.
    extractor: str | None = None

    def __init__(
        self,
        name: str,
        *,
        flip: bool = False,
        resident: bool | None = None,
        resident_mb: float = 4096,
        num_workers: int | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.flip = flip
        self.resident = resident
        self.resident_mb = resident_mb
        self.num_workers = usable_workers() if num_workers is None else num_workers
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self._planned: Plan | None = None
        self._blocks: ResidentBlocks | StreamedBlocks | None = None

    @abstractmethod
    def load(self) -> Source:
        """Find the data set.

        Raises:
            UserError: a file is missing or corrupt; names it and what fetches it.
        """

    @cached_property
    def source(self) -> Source:
        """The data set; in memory (`InMemory`) unless it is too large for that."""
        source = self.load()
        small = source.num_bytes <= DECODED_AT_MOST
        if isinstance(source, EncodedImages) and (small or self._fits(source)):
            return decoded(source, self.name, self.cache_dir, self.num_workers)
        if isinstance(source, EncodedImages) and not source.is_uniform:
            raise UserError(
                f"{self.name} is too large to look at every image beforehand: set "
                "datamodule.resolution and datamodule.channels to make all alike"
            )
        return source

    @cached_property
    def spec(self) -> DataSpec:
        """What the data set is; loads and checks it on first use.

        Raises:
            UserError: the data are missing, corrupt or of mixed form.
        """
        source = self.source
        return DataSpec(
            name=self.name,
            shape=source.shape,
            num_items=len(source),
            classes=source.classes,
            attributes=source.attribute_names,
            digest=digest_in_memory(source)
            if isinstance(source, InMemory)
            else digest_of_files(source, self.cache_dir),
        )

    @property
    def is_resident(self) -> bool:
        """Whether the data live on the training device."""
        return isinstance(self.source, InMemory) and self._fits(self.source)

    def plan(
        self,
        seed: int,
        batch_size: int,
        batches_per_iteration: int,
        iterations: int,
        start: int = 0,
    ) -> None:
        """Say what the coming run consumes.

        Args:
            seed: key of the order.
            batch_size: images of one batch, over all devices.
            batches_per_iteration: fresh batches of one iteration.
            iterations: length of the run.
            start: first iteration; the run goes on as if it had done those before.
        """
        self._planned = Plan(seed, batch_size, batches_per_iteration, iterations, start)

    def train_dataloader(self) -> ResidentBlocks | StreamedBlocks:
        """One block for each iteration from ``start`` on.

        After `on_after_batch_transfer` it is a dict: ``iteration`` int; ``reals``, the `Items` of
        n = batches_per_iteration * batch_size / world size items on the device: ``image``
        (n, *shape) float32 in [-1, 1]; ``label`` (n,) int64, zeros without classes; ``attributes``
        (n, A) float32 of 0 and 1, if the set has them.

        Raises:
            UserError: the batch does not divide among the devices.
        """
        plan = self._plan_of_this_process()
        if self.is_resident:
            self._blocks = ResidentBlocks(self.source, plan, self._device)
        else:
            self._blocks = StreamedBlocks(self.source, plan, self.num_workers, self._device)
        return self._blocks

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Finish a block on the device: gather (if resident), flip, scale."""
        return self._blocks.on_device(batch)

    def real_batches(
        self, batch_size: int, indices: Sequence[int] | Tensor | None = None
    ) -> Iterator[Items]:
        """Items for evaluation, in the order of ``indices`` (all of them by default).

        Yields:
            ``image`` (B, C, H, W) uint8 as stored, without flips, on the CPU; ``label`` (B,)
            int64. The last batch may be smaller.
        """
        indices = torch.arange(len(self.source)) if indices is None else torch.as_tensor(indices)
        workers = 0 if isinstance(self.source, InMemory) else self.num_workers
        count = math.ceil(len(indices) / batch_size)
        return stream(partial(_real_batch, self.source, indices, batch_size), count, workers)

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _fits(self, source: Source) -> bool:
        if self.resident is None:
            return source.num_bytes <= self.resident_mb * 2**20
        return self.resident

    def _plan_of_this_process(self) -> Plan:
        if self._planned is None:
            raise RuntimeError("the data module does not know what the run consumes: call plan()")
        rank, world_size = (
            (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        )
        if self._planned.batch_size % world_size:
            raise UserError(
                f"a batch of {self._planned.batch_size} does not divide among {world_size} "
                f"devices: choose a multiple of {world_size}"
            )
        flip = self.flip and len(self.source.shape) == 3
        return replace(self._planned, flip=flip, rank=rank, world_size=world_size)


def _real_batch(source: Source, indices: Tensor, size: int, k: int) -> Items:
    items = indices[k * size : (k + 1) * size]
    return Items(image=source.read(items), label=source.labels[items])
