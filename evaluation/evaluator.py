"""Scores under one protocol: the real images are taken in once, then each generator's."""

import logging
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation import statistics_cache
from saddlepoint.evaluation.fakes import BATCH_OF_STATISTICS, Fakes
from saddlepoint.evaluation.jpeg import jpeg_round_trip
from saddlepoint.evaluation.metrics import METRICS
from saddlepoint.evaluation.metrics.metric import Batch, Collector
from saddlepoint.evaluation.protocol import Protocol
from saddlepoint.evaluation.ranks import any_rank, extremes, from_first_rank, rank_and_count, share
from saddlepoint.extractors.extractor import Extractor
from saddlepoint.extractors.named import extractor_named
from saddlepoint.randomness import keyed_generator

log = logging.getLogger(__name__)

#: Told what is going on: a description, images done, and images in all.
Progress = Callable[[str, int, int], None]
Images = Iterator[tuple[Tensor, Tensor]]


class ConstantImagesError(UserError):
    """All generated images are one and the same."""


@dataclass(frozen=True)
class Scores:
    """Scores of one generator.

    Attributes:
        means: {name: mean over evaluation seeds}.
        by_seed: {name: values in the order of the protocol's seeds}.
        protocol: what they mean.
    """

    means: dict[str, float]
    by_seed: dict[str, list[float]] = field(default_factory=dict)
    protocol: Protocol | None = None


class Evaluator:
    """Computes the scores of a protocol; one pass through the extractor feeds them all.

    Args:
        extractor: gives features; an object, or a name, see `extractors.named`.
        scores: {metric: its options}, see `evaluation.metrics`.
        num_real: real images, drawn once under the first seed; None takes all there are.
        num_fake: generated images; None takes all there are, which needs images from elsewhere.
        seeds: keys of the generated images; each gives one evaluation, and the scores' mean counts.
        stretch: "set" stretches generated images to the full range, by the minimum and maximum over
            all of them; "" maps [-1, 1] to it.
        jpeg: quality of a round trip through JPEG of real and generated images; None makes none.
        batch_norm: "eval", or "batch" for statistics of batches of 64 while sampling.
        name: of the protocol.
        batch_size: images in one pass through the extractor; moves no score.
        weights: file with the extractor's weights, where it goes by its name; None looks for them.
        download: whether weights may be downloaded where none are found.
        cache_dir: where what is known of real images is kept between runs; None keeps nothing.
        note: what a user should know about the choice of this protocol, in one line.
    """

    def __init__(
        self,
        extractor: Extractor | str,
        scores: Mapping[str, Mapping[str, Any] | None],
        *,
        num_real: int | None = None,
        num_fake: int | None = 10_000,
        seeds: Sequence[int] = (0,),
        stretch: str = "",
        jpeg: int | None = None,
        batch_norm: str = "eval",
        name: str | None = None,
        batch_size: int = 64,
        weights: str | None = None,
        download: bool = True,
        cache_dir: str | Path | None = None,
        note: str | None = None,
    ) -> None:
        if isinstance(extractor, str):
            extractor = extractor_named(extractor, weights, download)
        self.extractor = extractor
        for key in scores:
            if key not in METRICS:
                raise UserError(f"There is no score '{key}': choose of {', '.join(METRICS)}.")
        self.metrics = [METRICS[key](**(options or {})) for key, options in scores.items()]
        choices = {"stretch": (stretch, ("", "set")), "batch_norm": (batch_norm, ("eval", "batch"))}
        for option, (value, possible) in choices.items():
            if value not in possible:
                known = ", ".join(repr(choice) for choice in possible)
                raise UserError(f"{option}={value!r} is no choice: choose of {known}.")
        if not seeds or not self.metrics:
            raise UserError("A protocol needs at least one score and one seed: name them.")
        self.num_real, self.num_fake, self.seeds = num_real, num_fake, tuple(seeds)
        self.stretch, self.jpeg = stretch, jpeg
        self.batch_norm = "eval" if batch_norm == "eval" else f"batch of {BATCH_OF_STATISTICS}"
        self.name, self.batch_size, self.note = name, batch_size, note
        self.progress: Progress | None = None
        self.cache_dir = None if cache_dir is None else Path(cache_dir)

    # Before training --------------------------------------------------------------------------

    def check(self, data: Any, fakes: int | None = None) -> None:
        """Find out, in a moment and before anything else is done, whether the scores can be had.

        Args:
            data: a data module, see `datamodules.base.DataModule`.
            fakes: how many images there are, where no generator makes them.

        Raises:
            UserError: no weights, fewer images than the protocol says, or not enough for a metric.
        """
        num_real, num_fake = self._numbers(data, fakes)
        ranks = rank_and_count()[1]
        block = 1 if self.batch_norm == "eval" else BATCH_OF_STATISTICS
        if min(num_real, num_fake) < max(2, ranks) or num_fake < block * ranks:
            raise UserError(
                f"A score needs at least 2 images on each side, and {block} for each process: set"
                " num_real and num_fake to more."
            )
        if self.jpeg is not None and len(data.spec.shape) != 3:
            raise UserError(
                f"{data.spec.name} holds no images to pass through JPEG: set jpeg=null."
            )
        for metric in self.metrics:
            metric.check(data, num_real, num_fake)
        self.extractor.check()
        wanting = [metric.name for metric in self.metrics if metric.needs_logits]
        if wanting and not self.extractor.gives_logits():
            raise UserError(
                f"{' and '.join(wanting)} needs class probabilities, and the weights of"
                f" {self.extractor.name} that were found have no classifier: put complete weights"
                " where they are looked for (docs/scores.md), or leave that score out."
            )

    def _numbers(self, data: Any, fakes: int | None = None) -> tuple[int, int]:
        spec = data.spec
        num_real = spec.num_items if self.num_real is None else self.num_real
        if num_real > spec.num_items:
            raise UserError(
                f"The protocol takes {num_real:,} real images and {spec.name} has"
                f" {spec.num_items:,}: set num_real to at most that, or to null for all."
            )
        num_fake = fakes if self.num_fake is None else self.num_fake
        if num_fake is None:
            raise UserError(
                "A generator has no end of images: set num_fake to how many shall be scored."
            )
        if fakes is not None and num_fake > fakes:
            raise UserError(
                f"The protocol takes {num_fake:,} generated images and there are {fakes:,}: give"
                " more images, or set num_fake to at most that."
            )
        return num_real, num_fake

    def prepare(
        self,
        data: Any,
        device: torch.device | str = "cpu",
        fakes: int | None = None,
        progress: Progress | None = None,
    ) -> "Evaluator":
        """Load the extractor and take in the real images, or what is cached of them.

        Args:
            data: a data module, see `datamodules.base.DataModule`.
            device: where to compute.
            fakes: how many images there are, where no generator makes them.
            progress: told from now on how far a pass has come.

        Returns:
            This object, which can now `score`.

        Raises:
            UserError: as `check` does.
        """
        self.check(data, fakes)
        self.progress = progress
        self.device = torch.device(device)
        self.shape = tuple(data.spec.shape)
        self.extractor.load(self.device)
        num_real, num_fake = self._numbers(data, fakes)
        self.protocol = Protocol(
            dataset=data.spec.name,
            dataset_digest=data.spec.digest,
            num_real=num_real,
            num_fake=num_fake,
            extractor=self.extractor.name,
            extractor_hash=self.extractor.weights_hash,
            resize=self.extractor.resize,
            quantisation=self.extractor.quantisation,
            scores={metric.name: metric.definition() for metric in self.metrics},
            seeds=self.seeds,
            stretch=self.stretch,
            jpeg=self.jpeg,
            batch_norm=self.batch_norm,
            name=self.name,
        )
        with torch.no_grad():
            self.real = self._real_side(data)
        return self

    def protocol_for(self, fakes: Fakes) -> Protocol:
        """What scores of these images mean."""
        return replace(self.protocol, generator=fakes.kind)

    # Scores -----------------------------------------------------------------------------------

    @torch.no_grad()
    def score(self, fakes: Fakes) -> Scores:
        """Score generated images; several processes share the work and all get the same result.

        Raises:
            UserError: images or features that are not finite, or unlike the real ones.
            ConstantImagesError: all images are the same.
        """
        values = [self._score_once(fakes, seed) for seed in self.seeds]
        by_seed = {name: [scores[name] for scores in values] for name in values[0]}
        return Scores(
            means={name: statistics.fmean(scores) for name, scores in by_seed.items()},
            by_seed=by_seed if len(values) > 1 else {},
            protocol=self.protocol_for(fakes),
        )

    def _score_once(self, fakes: Fakes, seed: int) -> dict[str, float]:
        count = self.protocol.num_fake
        collectors = self._collectors("of_fakes", count)
        mine = share(count, 1 if self.batch_norm == "eval" else BATCH_OF_STATISTICS)
        self._collect(self._fake_images(fakes, mine, seed), mine, collectors, "generated")
        scores: dict[str, float] = {}
        for metric in self.metrics:
            scores |= metric.compute(self.real, collectors)
        return {self.extractor.score_name(name): value for name, value in scores.items()}

    def _fake_images(self, fakes: Fakes, mine: range, seed: int) -> Images:
        def batches() -> Images:
            return fakes.batches(mine, self.batch_size, seed, self.batch_norm)

        low, high = extremes(images for images, _ in batches()) if self.stretch else (-1.0, 1.0)
        first: Tensor | None = None
        alike = torch.ones((), dtype=torch.bool, device=self.device)
        for images, labels in batches():
            if images.shape[1:] != self.shape:
                raise UserError(
                    f"The real images, those of {self.protocol.dataset}, have shape {self.shape},"
                    f" and the generated ones {tuple(images.shape[1:])}: score them against data"
                    " of their own size."
                )
            images = images.to(self.device)
            if self.stretch:
                images = ((images.float() - low) / max(high - low, 1e-12)).mul_(2).sub_(1)
            first = images[:1] if first is None else first
            alike &= (images == first).all()
            yield images, labels.to(self.device)
        if self.protocol.num_fake > rank_and_count()[1] and not any_rank(not bool(alike)):
            raise ConstantImagesError(
                f"All {self.protocol.num_fake:,} generated images are the same: the generator has"
                " collapsed, or the images were not written as they should be."
            )

    # The real side ----------------------------------------------------------------------------

    def _real_side(self, data: Any) -> dict[str, Collector]:
        count = self.protocol.num_real
        collectors = self._collectors("of_reals", count)
        missing = {name: c for name, c in collectors.items() if not self._restore(name, c, data)}
        if missing:
            log.info("Extracted of the %d real images of %s", count, data.spec.name)
            mine = share(count)
            self._collect(self._real_images(data, mine), mine, missing, "real")
            if rank_and_count()[0] == 0:
                for name, collector in missing.items():
                    path, fingerprint = self._cache_file(name, data)
                    if path is not None:
                        statistics_cache.write(path, fingerprint, collector.state())
        return collectors

    def _restore(self, name: str, collector: Collector, data: Any) -> bool:
        """Fill a collector from the cache, if the first rank can: others may not see its disk."""
        path, fingerprint = self._cache_file(name, data)
        first = rank_and_count()[0] == 0
        cached = statistics_cache.read(path, fingerprint) if path is not None and first else None
        state = from_first_rank(cached)
        if state is not None:
            collector.load_state(state)
        return state is not None

    def _cache_file(self, collector: str, data: Any) -> tuple[Path | None, str]:
        all_reals = self.protocol.num_real == data.spec.num_items
        fingerprint = self.protocol.real_side_fingerprint(collector, all_reals)
        if self.cache_dir is None:
            return None, fingerprint
        return statistics_cache.path_of(self.cache_dir, data.spec.name, fingerprint), fingerprint

    def _real_images(self, data: Any, mine: range) -> Images:
        chosen = torch.arange(data.spec.num_items)
        if self.protocol.num_real < len(chosen):
            generator = keyed_generator(self.seeds[0], "real images")
            order = torch.randperm(len(chosen), generator=generator)
            chosen = order[: self.protocol.num_real].sort().values
        for items in data.real_batches(self.batch_size, chosen[mine.start : mine.stop]):
            labels = items.get("label", torch.zeros(items.count, dtype=torch.int64))
            yield items.image.to(self.device, non_blocking=True), labels.to(self.device)

    # Both sides -------------------------------------------------------------------------------

    def _collectors(self, of: str, count: int) -> dict[str, Collector]:
        collectors: dict[str, Collector] = {}
        for metric in self.metrics:
            for name, collector in getattr(metric, of)(count, self.device).items():
                collectors.setdefault(name, collector)
        return collectors

    def _collect(
        self, batches: Images, positions: range, collectors: dict[str, Collector], side: str
    ) -> None:
        """Pass the images of one side through the extractor, and on to all collectors.

        Raises:
            UserError: images, features or class probabilities that are not finite.
        """
        start = positions.start
        finite = torch.ones(2, dtype=torch.bool, device=self.device)  # of images, of features
        for images, labels in batches:
            if images.is_floating_point():  # pixels cannot hold NaN
                finite[0] &= images.isfinite().all()
            features, logits = self.extractor(self._quantise(images))
            finite[1] &= features.isfinite().all()
            if logits is not None:
                finite[1] &= logits.isfinite().all()
            for collector in collectors.values():
                collector.update(Batch(features, logits, labels, start))
            start += len(images)
            if self.progress is not None:
                self.progress(f"{side} images", start - positions.start, len(positions))
        if any_rank(start != positions.stop):
            raise RuntimeError(f"{start} {side} images came instead of {positions.stop}")
        for what, good in zip(("images", "features"), finite.tolist(), strict=True):
            if any_rank(not good):
                raise UserError(
                    f"The {side} {what} hold NaN or infinite values, so there is no score: look at"
                    f" the {side} images" + (" and at the extractor." if what != "images" else ".")
                )
        for collector in collectors.values():
            collector.merge_ranks()

    def _quantise(self, images: Tensor) -> Tensor:
        images = self.extractor.quantise(images)
        if self.jpeg is None:
            return images
        return jpeg_round_trip(images, self.jpeg)


class NoScores:
    """No score at all.

    Args:
        note: why, in one line.
    """

    def __init__(self, note: str | None = None) -> None:
        self.note = note

    def check(self, data: Any, fakes: int | None = None) -> None:
        """Nothing can be missing."""

    def prepare(self, data: Any, *_: Any, **__: Any) -> "NoScores":
        """Nothing is needed."""
        return self

    def protocol_for(self, fakes: Fakes) -> None:
        """There is none."""

    def score(self, fakes: Fakes) -> Scores:
        """Return no score."""
        return Scores({})
