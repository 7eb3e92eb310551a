"""Scores under one protocol: the real images are taken in once, then each generator's."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from annotated_types import Ge, Le
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.edits import read_for
from saddlepoint.evaluation.fakes import BATCH_OF_STATISTICS, Fakes, Generated, GivenFakes
from saddlepoint.evaluation.image_pass import Collectors, ImagePass, Progress
from saddlepoint.evaluation.interruption import Stopped, never, until
from saddlepoint.evaluation.metrics.metric import Metric, SetMetric
from saddlepoint.evaluation.metrics.pairs import PairMetric, PairValues
from saddlepoint.evaluation.named import is_unaltered, metrics_of, settings_of
from saddlepoint.evaluation.progress_lines import lines_where_nobody_watches
from saddlepoint.evaluation.protocol import Protocol, about, annotations
from saddlepoint.evaluation.ranks import any_rank, extremes, rank_and_count, share
from saddlepoint.evaluation.real_side import RealSide
from saddlepoint.evaluation.scores import Evaluation, Scores
from saddlepoint.extractors.extractor import Extractor
from saddlepoint.extractors.named import extractor_named
from saddlepoint.schema import Count, Images, Natural, checked


class ConstantImagesError(UserError):
    """All generated images are one and the same."""


class Evaluator:
    """Computes the scores of a protocol; one pass through the images feeds them all.

    Args:
        extractor: gives features; an object, or a name, see `extractors.named`; None where no score
            needs any.
        scores: {name: a metric, or its options}, see `evaluation.metrics_of`.
        extractors: others, {name: object or name}, that metrics ask for by ``extractor``.
        num_real: real images, drawn once under the first seed; None takes all there are.
        num_fake: generated images; None takes all there are, which needs images from elsewhere.
        seeds: keys of the generated images; each gives one evaluation, and the scores' mean counts.
        stretch: "set" stretches generated images to the full range, by the minimum and maximum over
            all of them; "" maps [-1, 1] to it. Pairs are compared as they are.
        jpeg: quality of a round trip through JPEG of real and generated images; None makes none.
        batch_norm: "eval", or "batch" for statistics of batches of 64 while sampling.
        name: of the protocol; one that differs from the file of that name under conf/protocol loses
            it, since published figures stand beside scores of the same name.
        batch_size: images in one pass through the extractor; moves no score.
        weights: file with the extractor's weights, where it goes by its name; None looks for them.
        download: whether weights may be downloaded where none are found.
        cache_dir: where what is known of real images is kept between runs; None keeps nothing.
        note: what a user should know about the choice of this protocol, in one line.
        baselines: of `evaluation.baselines`, to be scored beside a game that edits, once it is
            trained, and "real", see `evaluation.real_reference`; move no score.
    """

    @checked
    def __init__(
        self,
        extractor: Extractor | str | None,
        scores: Mapping[str, Any],
        *,
        extractors: Mapping[str, Extractor | str] | None = None,
        num_real: Count | None = None,
        num_fake: Count | None = 10_000,
        seeds: Sequence[Natural] = (0,),
        stretch: Literal["", "set"] = "",
        jpeg: Annotated[int, Ge(1), Le(100)] | None = None,
        batch_norm: Literal["eval", "batch"] = "eval",
        name: str | None = None,
        batch_size: Images = 64,
        weights: str | None = None,
        download: bool = True,
        cache_dir: str | Path | None = None,
        note: str | None = None,
        baselines: Sequence[Literal["identity", "nearest", "colours", "truth", "real"]] = (),
    ) -> None:
        if not seeds or not scores:
            raise UserError("A protocol needs at least one score and one seed: name them.")
        metrics = metrics_of(scores)
        meaning = {
            "extractor": extractor,
            "scores": metrics,
            "num_real": num_real,
            "num_fake": num_fake,
            "seeds": seeds,
            "stretch": stretch,
            "jpeg": jpeg,
            "batch_norm": batch_norm,
        }
        self.name = name if name is not None and is_unaltered(name, meaning) else None
        self.metrics = metrics
        self.sets = [m for m in metrics.values() if isinstance(m, SetMetric)]
        self.pairs = [m for m in metrics.values() if isinstance(m, PairMetric)]
        given: dict[str | None, Extractor | str | None] = {None: extractor, **(extractors or {})}
        looking = [*self.sets, *(metric for metric in self.pairs if metric.looks)]
        self.extractors = {
            key: _extractor(given.get(key), weights if key is None else None, download, metric)
            for key, metric in {metric.extractor: metric for metric in looking}.items()
        }
        self.num_real, self.num_fake, self.seeds = num_real, num_fake, tuple(seeds)
        self.stretch, self.jpeg = stretch, jpeg
        self.batch_norm = "eval" if batch_norm == "eval" else f"batch of {BATCH_OF_STATISTICS}"
        self.batch_size, self.note, self.baselines = batch_size, note, tuple(baselines)
        self.cache_dir = None if cache_dir is None else Path(cache_dir)

    @classmethod
    def named(cls, name: str, **changes: Any) -> Self:
        """Make the evaluator of a protocol under conf/protocol.

        Args:
            name: of its file.
            changes: settings to replace.
        """
        settings = settings_of("protocol", name)
        settings.pop("_target_")
        # Values with ${...} are for Hydra; who calls this says where things lie.
        plain = {k: v for k, v in settings.items() if "${" not in str(v)}
        return cls(**plain | changes)

    @property
    def extractor(self) -> Extractor | None:
        """The main extractor; None where no score needs it."""
        return self.extractors.get(None)

    def _refuse_namesakes(self) -> None:
        """Refuse two scores of one name."""
        names: list[str] = []
        for metric in self.metrics.values():
            names += map(self.naming(metric), metric.directions)
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise UserError(
                f"Two scores of the protocol would both be called {twice[0]}: leave one out."
            )

    def naming(self, metric: Metric) -> Callable[[str], str]:
        """What puts the extractor's name to that of a value, where features come from one."""
        if isinstance(metric, SetMetric) or metric.looks:
            return self.extractors[metric.extractor].score_name
        return str

    # Before training --------------------------------------------------------------------------

    def check(self, data: Any, fakes: Fakes | None = None) -> None:
        """Find out, in a moment and before anything else is done, whether the scores can be had.

        Args:
            data: a data module, see `datamodules.base.DataModule`.
            fakes: what is to be scored; None where it is not known yet: a generator's images.

        Raises:
            UserError: no weights, fewer images than the protocol says, not enough for a metric, or
                nothing to compare an output with.
        """
        for extractor in self.extractors.values():
            extractor.refuse(data)
        num_real, num_fake = self._numbers(data, fakes)
        ranks = rank_and_count()[1]
        block = 1 if self.batch_norm == "eval" else BATCH_OF_STATISTICS
        smallest = min(num_real, num_fake) if self.sets else num_fake
        if smallest < max(2, ranks) or num_fake < block * ranks:
            raise UserError(
                f"A score needs at least 2 images on each side, and {block} for each process: set"
                " num_real and num_fake to more."
            )
        if self.jpeg is not None and len(data.spec.shape) != 3:
            raise UserError(
                f"{data.spec.name} holds no images to pass through JPEG: set jpeg=null."
            )
        for metric in self.sets:
            metric.check(data, num_real, num_fake)
        for metric in self.pairs:
            metric.check(data, num_fake)
        if fakes is not None:
            self._check_inputs(fakes)
        for key, extractor in self.extractors.items():
            extractor.check()
            own = [metric for metric in self.sets if metric.extractor == key]
            wanting = [metric.name for metric in own if metric.needs_logits]
            if wanting and not extractor.gives_logits():
                raise UserError(
                    f"{' and '.join(wanting)} needs class probabilities, and the weights of"
                    f" {extractor.name} that were found have no classifier: put complete weights"
                    " where they are looked for (docs/scores.md), or leave that score out."
                )
        self._refuse_namesakes()

    def _check_inputs(self, fakes: Fakes) -> None:
        """Refuse pairs that are none.

        Raises:
            UserError: a metric of pairs reads what the images were not made from.
        """
        for metric in self.pairs:
            missing = [field for field in metric.needs if field not in fakes.fields]
            if missing:
                raise UserError(
                    f"{metric.name} compares each output with the {' and '.join(metric.needs)} it"
                    f" was made from, and here is no {missing[0]}: leave that score out, or score a"
                    " game that is fed with such images."
                )

    def _numbers(self, data: Any, fakes: Fakes | None) -> tuple[int, int]:
        """Real and generated images that are used."""
        spec = data.spec
        num_real = spec.num_items if self.num_real is None else self.num_real
        num_real = num_real if self.sets else 0
        if num_real > spec.num_items:
            raise UserError(
                f"The protocol takes {num_real:,} real images and {spec.name} has"
                f" {spec.num_items:,}: set num_real to at most that, or to null for all."
            )
        there_are = None if fakes is None else fakes.count
        num_fake = there_are if self.num_fake is None else self.num_fake
        if num_fake is None:
            raise UserError(
                "A generator has no end of images: set num_fake to how many shall be scored."
            )
        if there_are is not None and num_fake > there_are:
            raise UserError(
                f"The protocol takes {num_fake:,} generated images and there are {there_are:,}:"
                " give more images, or set num_fake to at most that."
            )
        return num_real, num_fake

    def prepare(
        self,
        data: Any,
        device: torch.device | str = "cpu",
        fakes: Fakes | None = None,
        progress: Progress | None = None,
        stopped: Stopped = never,
        reals_later: bool = False,
    ) -> Self:
        """Load the extractors and take in the real images, or what is cached of them.

        Args:
            data: a data module, see `datamodules.base.DataModule`.
            device: where to compute.
            fakes: what is to be scored; None where it is not known yet: a generator's images.
            progress: told from now on how far a pass has come; by default lines in a log file.
            stopped: asked from now on before every batch whether to give the score up.
            reals_later: leave the real images to the first `score`.

        Returns:
            This object, which can now `score`.

        Raises:
            UserError: as `check` does.
            ScoreInterruptedError: given up.
        """
        self.check(data, fakes)
        device = torch.device(device)
        self.shape = tuple(data.spec.shape)
        progress = progress or lines_where_nobody_watches(rank_and_count()[0])
        for extractor in self.extractors.values():
            extractor.suit(data, progress)
            extractor.load(device)
        self.protocol = self._protocol(data.spec, *self._numbers(data, fakes))
        for metric in self.pairs:
            if metric.looks:
                metric.network = self.extractors[metric.extractor]
        self.images = ImagePass(self.extractors, self.jpeg, device, progress, stopped)
        self.real: Collectors | None = None
        self.real_side = RealSide(data, self.protocol, self.cache_dir, self.batch_size)
        with torch.no_grad():
            if not reals_later:
                self._take_in_reals()
            for metric in self.pairs:
                metric.prepare(data, device)
        return self

    def _take_in_reals(self) -> None:
        """Fill what metrics keep of the real images, whole or not at all."""
        if self.real is None:
            real = self.images.collectors(self.sets, "of_reals", self.protocol.num_real)
            self.real_side.fill(real, self.images)
            self.real = real

    def _protocol(self, spec: Any, num_real: int, num_fake: int) -> Protocol:
        others = [extractor for key, extractor in self.extractors.items() if key is not None]
        return Protocol(
            dataset=spec.name,
            dataset_digest=spec.digest,
            num_real=num_real,
            num_fake=num_fake,
            scores={self._identity(m): m.definition() for m in self.metrics.values()},
            seeds=self.seeds,
            stretch=self.stretch,
            jpeg=self.jpeg,
            batch_norm=self.batch_norm,
            extractors={extractor.name: about(extractor) for extractor in others},
            annotations=annotations(spec, {f for metric in self.sets for f in metric.reads}),
            name=self.name,
        ).seen_by(self.extractor)

    def _identity(self, metric: Metric) -> str:
        """What a protocol calls a metric: its name, and what tells it from others of that name."""
        other = getattr(metric, "extractor", None)
        name = metric.name if other is None else f"{metric.name}/{self.extractors[other].name}"
        alike = [m for m in self.metrics.values() if m.name == metric.name]
        alike = [m for m in alike if getattr(m, "extractor", None) == other]
        return name if len(alike) == 1 else f"{name} ({', '.join(metric.directions)})"

    def protocol_for(self, fakes: Fakes) -> Protocol:
        """What scores of these images mean."""
        inputs, source = {}, fakes.source
        if source is not None:
            read = read_for({field for metric in self.pairs for field in metric.needs})
            inputs = {"dataset": source.name, "digest": source.digest, **annotations(source, read)}
            inputs |= {} if fakes.shots is None else {"shots": str(fakes.shots)}
        return replace(self.protocol, generator=fakes.kind, inputs=inputs)

    # Scores -----------------------------------------------------------------------------------

    @torch.no_grad()
    def score(self, fakes: Fakes) -> Scores:
        """Score generated images; several processes share the work and all get the same result.

        Raises:
            UserError: images or features that are not finite, or unlike the real ones; or a metric
                of pairs has nothing to compare.
            ConstantImagesError: all images are the same.
            ScoreInterruptedError: given up, see `prepare`.
        """
        self._check_inputs(fakes)
        self._take_in_reals()
        if isinstance(fakes, GivenFakes):
            fakes = fakes.drawn(self.protocol.num_fake)
        values = [self._score_once(fakes, seed) for seed in self.seeds]
        by_seed = {name: [found.values[name] for found in values] for name in values[0].values}
        return Scores(
            means={name: statistics.fmean(scores) for name, scores in by_seed.items()},
            by_seed=by_seed if len(values) > 1 else {},
            protocol=self.protocol_for(fakes),
            directions=values[0].directions,
            ranking=values[0].ranking,
        )

    def _score_once(self, fakes: Fakes, seed: int) -> Evaluation:
        count = self.protocol.num_fake
        mine = share(count, 1 if self.batch_norm == "eval" else BATCH_OF_STATISTICS)

        def batches() -> Iterator[Generated]:
            images = fakes.batches(mine, self.batch_size, seed, self.batch_norm)
            return until(self.images.stopped, images)

        stretch = None
        if self.stretch and self.sets:
            stretch = extremes(generated.image for generated in batches())
        collectors = self.images.collectors(self.sets, "of_fakes", count)
        pairs = {metric: PairValues(metric) for metric in self.pairs}
        images = self._checked(batches())
        self.images.collect(images, mine, collectors, "generated", [*pairs.values()], stretch)
        found = Evaluation()
        for metric in self.metrics.values():
            if metric in pairs:
                values = pairs[metric].compute()
            else:
                values = metric.compute(self.real[metric.extractor], collectors[metric.extractor])
            found.add(metric, values, self.naming(metric))
        return found

    def _checked(self, batches: Iterator[Generated]) -> Iterator[Generated]:
        """Generated images on the device.

        Raises:
            UserError: they have another shape than the real ones.
            ConstantImagesError: all of them were the same.
        """
        first: Tensor | None = None
        alike = torch.ones((), dtype=torch.bool, device=self.images.device)
        for images, labels, inputs in batches:
            if images.shape[1:] != self.shape:
                raise UserError(
                    f"The real images, those of {self.protocol.dataset}, have shape {self.shape},"
                    f" and the generated ones {tuple(images.shape[1:])}: score them against data"
                    " of their own size."
                )
            images = images.to(self.images.device)
            first = images[:1] if first is None else first
            alike &= (images == first).all()
            yield Generated(images, labels.to(self.images.device), inputs.to(self.images.device))
        if self.protocol.num_fake > rank_and_count()[1] and not any_rank(not bool(alike)):
            raise ConstantImagesError(
                f"All {self.protocol.num_fake:,} generated images are the same: the generator has"
                " collapsed, or the images were not written as they should be."
            )


class NoScores:
    """No score at all.

    Args:
        note: why, in one line.
    """

    @checked
    def __init__(self, note: str | None = None) -> None:
        self.note = note

    def check(self, data: Any, fakes: Fakes | None = None) -> None:
        """Nothing can be missing."""

    def prepare(self, data: Any, *_: Any, **__: Any) -> "NoScores":
        """Nothing is needed."""
        return self

    def protocol_for(self, fakes: Fakes) -> None:
        """There is none."""

    def score(self, fakes: Fakes) -> Scores:
        """Return no score."""
        return Scores({})


def _extractor(
    given: Extractor | str | None, weights: str | None, download: bool, metric: Metric
) -> Extractor:
    """The extractor that a metric asks for.

    Raises:
        UserError: there is none.
    """
    if given is None:
        wanted = metric.extractor
        cure = "set extractor" if wanted is None else f"add it, as in +protocol.extractors.{wanted}"
        which = "features" if wanted is None else f"an extractor '{wanted}'"
        raise UserError(f"{metric.name} needs {which} and the protocol names none: {cure}=vgg16.")
    return extractor_named(given, weights, download) if isinstance(given, str) else given
