"""One pass of images through all extractors, and on to all that keep something of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.fakes import Generated
from saddlepoint.evaluation.jpeg import jpeg_round_trip
from saddlepoint.evaluation.metrics.metric import Batch, Collector, SetMetric
from saddlepoint.evaluation.metrics.pairs import PairValues
from saddlepoint.evaluation.ranks import any_rank
from saddlepoint.extractors.extractor import Extractor

#: Told what is going on: a description, images done, and images in all.
Progress = Callable[[str, int, int], None]
#: Collectors by name, of each extractor; the main one's name is None.
Collectors = dict[str | None, dict[str, Collector]]


@dataclass(frozen=True)
class ImagePass:
    """Passes the images of one side through the extractors.

    Attributes:
        extractors: by the names that metrics have for them; the main one's is None.
        jpeg: quality of a round trip through JPEG; None makes none.
        device: where to compute.
        progress: told how far a pass has come.
    """

    extractors: Mapping[str | None, Extractor]
    jpeg: int | None
    device: torch.device
    progress: Progress | None

    def collectors(self, metrics: Sequence[SetMetric], of: str, count: int) -> Collectors:
        """New collectors of all metrics.

        Args:
            metrics: that name what they need.
            of: "of_reals" or "of_fakes".
            count: images that are to come, over all ranks.
        """
        collectors: Collectors = {}
        for metric in metrics:
            there = collectors.setdefault(metric.extractor, {})
            for name, collector in getattr(metric, of)(count, self.device).items():
                there.setdefault(name, collector)
        return collectors

    def collect(
        self,
        batches: Iterator[Generated],
        positions: range,
        collectors: Collectors,
        side: str,
        pairs: Sequence[PairValues] = (),
        stretch: tuple[float, float] | None = None,
    ) -> None:
        """Fill collectors with the images of one side, over all ranks.

        Args:
            batches: this rank's images, on the device.
            positions: of these among all.
            collectors: see `collectors`.
            side: "real" or "generated", for people.
            pairs: what compares the images with their inputs, as they are.
            stretch: values that become -1 and 1 on the way to the extractors; None changes none.

        Raises:
            UserError: images, features or class probabilities that are not finite.
        """
        start = positions.start
        finite = torch.ones(2, dtype=torch.bool, device=self.device)  # of images, of features
        for images, labels, inputs in batches:
            if images.is_floating_point():  # pixels cannot hold NaN
                finite[0] &= images.isfinite().all()
            for values in pairs:
                values.update(images, inputs)
            if stretch is not None:
                low, high = stretch
                images = ((images.float() - low) / max(high - low, 1e-12)).mul_(2).sub_(1)
            quantised: dict[str, Tensor] = {}
            for key, of_extractor in collectors.items():
                extractor = self.extractors[key]
                if extractor.quantisation not in quantised:
                    quantised[extractor.quantisation] = self._quantise(images, extractor)
                features, logits = extractor(quantised[extractor.quantisation])
                finite[1] &= features.isfinite().all()
                if logits is not None:
                    finite[1] &= logits.isfinite().all()
                for collector in of_extractor.values():
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
        for of_extractor in collectors.values():
            for collector in of_extractor.values():
                collector.merge_ranks()
        for values in pairs:
            values.merge_ranks()

    def _quantise(self, images: Tensor, extractor: Extractor) -> Tensor:
        images = extractor.quantise(images)
        return images if self.jpeg is None else jpeg_round_trip(images, self.jpeg)
