"""What metrics keep of the real images: from the cache, or from one pass through those missing."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from saddlepoint.evaluation import statistics_cache
from saddlepoint.evaluation.fakes import Generated, labels_of
from saddlepoint.evaluation.image_pass import Collectors, ImagePass
from saddlepoint.evaluation.interruption import until
from saddlepoint.evaluation.metrics.metric import Collector
from saddlepoint.evaluation.protocol import Protocol
from saddlepoint.evaluation.ranks import from_first_rank, rank_and_count, share
from saddlepoint.items import Items
from saddlepoint.randomness import keyed_generator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RealSide:
    """The real images of a protocol.

    Attributes:
        data: a data module, see `datamodules.base.DataModule`.
        protocol: says how many images, and which.
        cache_dir: where what is known of them is kept between runs; None keeps nothing.
        batch_size: images in one pass through an extractor.
    """

    data: Any
    protocol: Protocol
    cache_dir: Path | None
    batch_size: int

    def fill(self, collectors: Collectors, images: ImagePass) -> None:
        """Fill collectors; those that the cache has need no image."""
        missing: Collectors = {}
        for key, of_extractor in collectors.items():
            protocol = self.protocol.seen_by(images.extractors[key])
            for name, collector in of_extractor.items():
                if not self._restore(protocol, name, collector):
                    missing.setdefault(key, {})[name] = collector
        if not missing:
            return
        log.info("Features of %d images of %s", self.protocol.num_real, self.data.spec.name)
        mine = share(self.protocol.num_real)
        reals = until(images.stopped, self._images(mine, images.device))
        images.collect(reals, mine, missing, "real")
        if rank_and_count()[0] == 0 and self.cache_dir is not None:
            for key, of_extractor in missing.items():
                protocol = self.protocol.seen_by(images.extractors[key])
                for name, collector in of_extractor.items():
                    statistics_cache.write(*self._place(protocol, name), collector.state())

    def _restore(self, protocol: Protocol, name: str, collector: Collector) -> bool:
        """Fill a collector from the cache, if the first rank can: others may not see its disk."""
        first = rank_and_count()[0] == 0 and self.cache_dir is not None
        state = from_first_rank(
            statistics_cache.read(*self._place(protocol, name)) if first else None
        )
        if state is not None:
            collector.load_state(state)
        return state is not None

    def _place(self, protocol: Protocol, name: str) -> tuple[Path, str]:
        """File of a collector, and the fingerprint of what it holds."""
        spec = self.data.spec
        fingerprint = protocol.real_side_fingerprint(name, protocol.num_real == spec.num_items)
        return statistics_cache.path_of(self.cache_dir, spec.name, fingerprint), fingerprint

    def _images(self, mine: range, device: torch.device) -> Iterator[Generated]:
        chosen = torch.arange(self.data.spec.num_items)
        if self.protocol.num_real < len(chosen):
            generator = keyed_generator(self.protocol.seeds[0], "real images")
            order = torch.randperm(len(chosen), generator=generator)
            chosen = order[: self.protocol.num_real].sort().values
        for items in self.data.real_batches(self.batch_size, chosen[mine.start : mine.stop]):
            image = items.image.to(device, non_blocking=True)
            yield Generated(image, labels_of(items).to(device), Items())
