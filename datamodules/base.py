"""The data module that all data sets share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from saddlepoint.datamodules.cache import decoded
from saddlepoint.datamodules.order import Order, Plan
from saddlepoint.datamodules.resident_blocks import ResidentBlocks
from saddlepoint.datamodules.source import Source
from saddlepoint.datamodules.spec import DataSpec
from saddlepoint.datamodules.split import Split, divided
from saddlepoint.datamodules.streamed_blocks import StreamedBlocks
from saddlepoint.datamodules.workers import usable_workers
from saddlepoint.errors import UserError
from saddlepoint.items import Items
from saddlepoint.schema import Natural, NotNegative, Share, checked

#: Sets up to this size are decoded once and served from memory, resident or not.
DECODED_AT_MOST = 4 * 2**30


class DataModule(pl.LightningDataModule, ABC):
    """Serves one block of reals for each iteration of a run, in the order that `plan` fixes.

    A data set says what it holds: `load`, and `load_held_out` where it comes with a test split.
    Everything else is here. Sets below ``resident_mb`` live on the training device, others stream
    through workers; a run cannot tell which.

    Args:
        name: of the data set, as it stands in records.
        flip: whether half of the items, anew in every epoch, are mirrored left and right: the
            images, with the points and masks in them.
        held_out: share of the items that are kept out of training, drawn once for all runs, in
            place of an official test split; 0 trains on all items of the split.
        resident: True keeps the data on the training device, False streams them, None decides by
            ``resident_mb``.
        resident_mb: largest size in MiB, as stored, that is kept on the training device.
        num_workers: processes that read and decode; None takes one for each core, at most 8.
        cache_dir: where decoded images are kept for the next run; None keeps none.

    Attributes:
        protocol: name of the protocol, under conf/protocol, that suits the data where nobody says.
        stand_in: name of another, where that one needs what this machine does not have.
        extractor: name of the extractor that suits their pictures; None is Inception.
        mode_centres: means (K, 2) of the modes, of points that have known ones.
        mode_std: standard deviation of each mode.
        curve: points (K, d) along the curve that the data lie around, with equal shares of the data
            between them; of points around a known one.
        only_held_out: fields that only the items held out have, such as the truth of their edits.
    """

    protocol: str | None = "fid10k"
    stand_in: str | None = None
    extractor: str | None = None
    mode_centres: Tensor | None = None
    mode_std: float | None = None
    curve: Tensor | None = None
    only_held_out: tuple[str, ...] = ()

    @checked
    def __init__(
        self,
        name: str,
        *,
        flip: bool = False,
        held_out: Share = 0.0,
        resident: bool | None = None,
        resident_mb: NotNegative = 4096,
        num_workers: Natural | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.flip = flip
        self.held_out_share = held_out
        self.resident = resident
        self.resident_mb = resident_mb
        self.num_workers = usable_workers() if num_workers is None else num_workers
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self._planned: Plan | None = None
        self._blocks: ResidentBlocks | StreamedBlocks | None = None

    # What there is --------------------------------------------------------------------------------

    @abstractmethod
    def load(self) -> Source:
        """Find the items.

        Raises:
            UserError: a file is missing or corrupt; names it and what fetches it.
        """

    def load_held_out(self) -> tuple[str, Source] | None:
        """Find the official split that belongs to `load`'s and is not trained on, with its name.

        Raises:
            UserError: as `load`.
        """
        return None

    @property
    def source(self) -> Source:
        """The items to train on; in memory unless they are too large for that."""
        return self.training.source

    @cached_property
    def training(self) -> Split:
        """The items to train on."""
        return self._split("train", self._parts[0])

    @cached_property
    def held_out(self) -> Split | None:
        """Items that no run trains on; None without any.

        They have no fields but those of training, and those that are ``only_held_out``.
        """
        if self._parts[1] is not None:
            return self._split("held_out", self._parts[1])
        found = self.load_held_out()
        if found is None:
            return None
        name, source = found
        known = {*self.source, *self.only_held_out}
        unknown = {field: None for field in source if field not in known}
        return self._split(name, self._in_memory_if_small(source.replaced(**unknown)))

    @property
    def whole(self) -> "DataModule":
        """The set with all of its classes, where this is a part of it."""
        return self

    @property
    def spec(self) -> DataSpec:
        """What the items to train on are; loads and checks them on first use.

        Raises:
            UserError: the data are missing, corrupt or of mixed form.
        """
        return self.training.spec

    def real_batches(
        self, batch_size: int, indices: Sequence[int] | Tensor | None = None
    ) -> Iterator[Items]:
        """Items to train on, for evaluation, see `Split.real_batches`."""
        return self.training.real_batches(batch_size, indices)

    def items_at(self, indices: Sequence[int] | Tensor) -> Items:
        """Items to train on as networks get them, see `Split.items_at`."""
        return self.training.items_at(indices)

    @cached_property
    def _parts(self) -> tuple[Source, Source | None]:
        source = self._in_memory_if_small(self.load())
        return divided(source, self.held_out_share) if self.held_out_share else (source, None)

    def _split(self, name: str, source: Source) -> Split:
        return Split(name, self.name, source, self.num_workers, self.cache_dir)

    def _in_memory_if_small(self, source: Source) -> Source:
        images = source.image
        if images.in_memory:
            return source
        if source.num_bytes <= DECODED_AT_MOST or self._fits(source):
            return source.replaced(
                image=decoded(images, self.name, self.cache_dir, self.num_workers)
            )
        if not images.is_uniform:
            raise UserError(
                f"{self.name} is too large to look at every image beforehand: set "
                "datamodule.resolution and datamodule.channels to make all alike"
            )
        return source

    # What a run sees ------------------------------------------------------------------------------

    @property
    def played(self) -> Source:
        """What a run is served: the items to train on, unless a subclass makes others of them."""
        return self.source

    @property
    def is_resident(self) -> bool:
        """Whether the data live on the training device."""
        return self.played.in_memory and self._fits(self.played)

    def plan(
        self,
        seed: int,
        batch_size: int,
        batches_per_iteration: int,
        iterations: int,
        start: int = 0,
        stretch: int = 1,
    ) -> None:
        """Say what the coming run consumes.

        Args:
            seed: key of the order.
            batch_size: images of one batch, over all devices.
            batches_per_iteration: fresh batches of one iteration.
            iterations: length of the run.
            start: first iteration; the run goes on as if it had done those before.
            stretch: iterations of resident data that are handed over at once; one by one to a data
                module with an `on_after_batch_transfer` of its own.
        """
        if type(self).on_after_batch_transfer is not DataModule.on_after_batch_transfer:
            stretch = 1
        self._planned = Plan(
            seed, batch_size, batches_per_iteration, iterations, start, stretch=stretch
        )

    def train_dataloader(self) -> ResidentBlocks | StreamedBlocks:
        """One block for each iteration from ``start`` on.

        After `on_after_batch_transfer` it is a dict: ``iteration`` int; ``reals``, the `Items` of
        n = batches_per_iteration * batch_size / world size items on the device, with all fields of
        the set as served: ``image`` (n, *shape) float32 in [-1, 1], ``index`` (n,) int64, and where
        there are, ``label`` (n,) int64, ``attributes`` (n, A) float32 of 0 and 1, and so on. Of
        resident data it is a list of functions that return such dicts, if the `plan` has stretches.

        Raises:
            UserError: the batch does not divide among the devices.
        """
        plan, device = self._plan_of_this_process(), self._device
        if self.is_resident:
            self._blocks = ResidentBlocks(self.played, self.order(plan, device), device)
        else:
            order = self.order(plan, torch.device("cpu"))
            self._blocks = StreamedBlocks(self.played, order, self.num_workers, device)
        return self._blocks

    def order(self, plan: Plan, device: torch.device) -> Order:
        """The order in which a run sees the items, for a device that gathers them."""
        return Order(plan, self.played.count, device)

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> Any:
        """Finish a block, or say how each of a stretch is finished when its turn comes."""
        if "until" not in batch:
            return self.finished(batch)
        stretch = range(batch["iteration"], batch["until"])
        return [partial(self.finished, {"iteration": iteration}) for iteration in stretch]

    def finished(self, block: dict[str, Any]) -> dict[str, Any]:
        """Finish a block on the device: gather (if resident), mirror, scale."""
        return self._blocks.on_device(block)

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
        return replace(self._planned, flip=self.flip, rank=rank, world_size=world_size)
