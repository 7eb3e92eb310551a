"""A score: computed once from the real images, then from each generator's."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from errors import UserError
from evaluation import statistics_cache
from evaluation.extractors import Extractor
from evaluation.frechet import FeatureStatistics, frechet_distance
from evaluation.protocol import Protocol
from evaluation.ranks import from_first_rank, rank_and_count, share
from randomness import keyed_generator

log = logging.getLogger(__name__)

#: ``sample(n, start)`` gives images start .. start + n - 1, uint8 or float in [-1, 1].
Sample = Callable[[int, int], Tensor]


class FrechetScore:
    """The Frechet distance between features of real and of generated images.

    Args:
        extractor: gives the features, and the score its name.
        num_real: real images, drawn once under ``seed``; None takes all there are.
        num_fake: generated images.
        batch_size: images in one pass through the extractor; moves no score.
        seed: key of the choice of reals and of the generated images.
        cache_dir: where statistics of real images are kept between runs; None keeps none.
    """

    #: What a user should know about the choice of this score, in one line.
    note: str | None = None

    def __init__(
        self,
        extractor: Extractor,
        num_real: int | None = None,
        num_fake: int = 10_000,
        batch_size: int = 64,
        seed: int = 0,
        cache_dir: str | Path | None = None,
    ) -> None:
        self.extractor = extractor
        self.num_real = num_real
        self.num_fake = num_fake
        self.batch_size = batch_size
        self.seed = seed
        self.cache_dir = None if cache_dir is None else Path(cache_dir)

    @property
    def name(self) -> str:
        """Name of the score: FID with the 2015 Inception, else FD/ and the extractor."""
        return self.extractor.frechet_name

    def check(self, data: Any) -> None:
        """Find out, in a moment and before anything else is done, whether this score can be had.

        Raises:
            UserError: no weights, or fewer images than the protocol says.
        """
        num_real = data.spec.num_items if self.num_real is None else self.num_real
        if num_real > data.spec.num_items:
            raise UserError(
                f"{self.name} is to use {num_real:,} real images and {data.spec.name} has"
                f" {data.spec.num_items:,}: set metrics.num_real to at most that, or to null for"
                " all."
            )
        if min(num_real, self.num_fake) < max(2, rank_and_count()[1]):
            raise UserError(
                f"{self.name} needs at least 2 images on each side, and one for each process: set"
                " metrics.num_real and metrics.num_fake to more."
            )
        self.extractor.check()

    def prepare(self, data: Any, device: torch.device | str = "cpu") -> "FrechetScore":
        """Load the extractor and know the real images' statistics; call it before training.

        Args:
            data: a data module, see `datamodules.base.DataModule`.
            device: where to compute.

        Returns:
            This score, which can now `score`.

        Raises:
            UserError: no weights, or fewer images than the protocol says.
        """
        self.check(data)
        spec = data.spec
        num_real = spec.num_items if self.num_real is None else self.num_real
        self.device = torch.device(device)
        self.shape = tuple(spec.shape)
        self.extractor.load(self.device)
        self.protocol = Protocol(
            dataset=spec.name,
            dataset_digest=spec.digest,
            num_real=num_real,
            num_fake=self.num_fake,
            extractor=self.extractor.name,
            extractor_hash=self.extractor.weights_hash,
            resize=self.extractor.resize,
            quantisation=self.extractor.quantisation,
            seed=self.seed,
        )
        self.real = self._real_statistics(data)
        return self

    def protocol_for(self, generator: str) -> Protocol:
        """What the score means for ``generator``: "ema" or "raw" weights."""
        return replace(self.protocol, generator=generator)

    @torch.no_grad()
    def score(self, sample: Sample) -> dict[str, float]:
        """Score a generator; several processes share the work and all get the same result.

        Args:
            sample: ``sample(n, start)`` gives images start .. start + n - 1, functions of their
                position alone: (n, *shape), uint8, or float in [-1, 1].

        Returns:
            The distance under the score's name.

        Raises:
            UserError: NaN or infinite images or features, or images unlike the real ones.
        """
        generated = self._statistics(self._generated_batches(sample), self.num_fake)
        return {self.name: frechet_distance(self.real, generated)}

    def _real_statistics(self, data: Any) -> FeatureStatistics:
        fingerprint = self.protocol.real_side_fingerprint
        path = None
        if self.cache_dir is not None:
            path = statistics_cache.path_of(self.cache_dir, self.protocol.dataset, fingerprint)
        # The first rank decides, as another machine may have another cache.
        first = rank_and_count()[0] == 0
        cached = statistics_cache.read(path, fingerprint) if path is not None and first else None
        state = from_first_rank(None if cached is None else cached.state())
        if state is not None:
            return FeatureStatistics.from_state(state, self.device)

        log.info("Features of the %d real images of %s", self.protocol.num_real, data.spec.name)
        statistics = self._statistics(self._real_batches(data), self.protocol.num_real)
        if path is not None and first:
            statistics_cache.write(path, fingerprint, statistics)
        return statistics

    def _real_batches(self, data: Any) -> Iterator[Tensor]:
        chosen = torch.arange(data.spec.num_items)
        if self.protocol.num_real < data.spec.num_items:
            generator = keyed_generator(self.seed, "real images")
            order = torch.randperm(data.spec.num_items, generator=generator)
            chosen = order[: self.protocol.num_real].sort().values
        mine = share(len(chosen))
        for images, _ in data.real_batches(self.batch_size, chosen[mine.start : mine.stop]):
            yield images.to(self.device, non_blocking=True)

    def _generated_batches(self, sample: Sample) -> Iterator[Tensor]:
        mine = share(self.num_fake)
        for start in range(mine.start, mine.stop, self.batch_size):
            n = min(self.batch_size, mine.stop - start)
            images = sample(n, start)
            if images.shape != (n, *self.shape):
                raise UserError(
                    f"{self.name} compares items of shape {self.shape}, those of"
                    f" {self.protocol.dataset}, and the generator's are {tuple(images.shape[1:])}:"
                    " score it on data of its own size."
                )
            yield images.to(self.device)

    @torch.no_grad()
    def _statistics(self, batches: Iterator[Tensor], expected: int) -> FeatureStatistics:
        statistics = FeatureStatistics(self.device)
        for images in batches:
            features = self.extractor(self.extractor.quantise(images)).features
            if images.is_floating_point():
                # Pixels cannot hold NaN, features can: a sample's NaN is carried over to them.
                features = features + 0 * images.flatten(1).sum(1, keepdim=True)
            statistics.update(features)
        statistics.merge_ranks()
        if statistics.count != expected:
            raise RuntimeError(f"{statistics.count} images came, {expected} were asked for")
        return statistics


class NoScore:
    """No score at all.

    Args:
        note: why, in one line.
    """

    name: str | None = None

    def __init__(self, note: str | None = None) -> None:
        self.note = note

    def check(self, data: Any) -> None:
        """Nothing can be missing."""

    def prepare(self, data: Any, device: torch.device | str = "cpu") -> "NoScore":
        """Nothing is needed."""
        return self

    def score(self, sample: Sample) -> dict[str, float]:
        """Return no score."""
        return {}
