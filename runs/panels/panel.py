"""What panels are made from, and what they are."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from saddlepoint.datamodules.base import DataModule
from saddlepoint.errors import UserError
from saddlepoint.extractors.extractor import Extractor
from saddlepoint.extractors.named import INCEPTION, extractor_named, why_not_at_hand
from saddlepoint.items import Items
from saddlepoint.records.reading import read_records
from saddlepoint.runs.captions import caption_of
from saddlepoint.runs.trained_run import TrainedRun

BATCH = 250  # images at once; moves no result
NONE = "none"  # the extractor that is asked for where none is wanted


class Panel(NamedTuple):
    """A picture, and what goes with it.

    Attributes:
        picture: to be written.
        notes: sentences to be printed.
        more: further pictures by name, each to be written to a file of its own.
        frames: all of a picture that moves.
    """

    picture: Image.Image
    notes: tuple[str, ...] = ()
    more: Mapping[str, Image.Image] = MappingProxyType({})
    frames: tuple[Image.Image, ...] = ()


class Subject:
    """A trained run, and the settings of the picture that is wanted of it.

    Args:
        run: that was trained.
        config: composed from conf/sample.yaml.

    Attributes:
        device: where everything is computed.
        game: with the weights of the checkpoint, on the device.
    """

    def __init__(self, run: TrainedRun, config: DictConfig) -> None:
        self.run, self.config = run, config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.game = run.game(self.device)

    @property
    def has_images(self) -> bool:
        """Whether items are images, and no points."""
        return self.run.has_images

    @cached_property
    def data(self) -> DataModule:
        """The data that the run was trained on.

        Raises:
            UserError: they are missing, or others.
        """
        return self.run.data(self.config.data_dir)

    def inputs(self, count: int, start: int = 0) -> Items:
        """What the generator is fed for ``count`` samples from ``start`` on.

        Raises:
            UserError: it is fed data, and they are missing or others.
        """
        data = self.data if self.game.needs_data else None
        return self.game.inputs_at(range(start, start + count), self.config.seed, data)

    def pictures(self, count: int) -> dict[str, Tensor]:
        """What there is to see of the first ``count`` samples, by name.

        Raises:
            UserError: the generator is fed data, and they are missing or others.
        """
        data = self.data if self.game.needs_data else None
        return self.game.pictures(range(count), self.config.seed, data)

    def samples(self, count: int) -> Iterator[Tensor]:
        """Batches (n, *shape) of the first ``count`` samples, float32.

        Raises:
            UserError: the generator gives NaN or infinite values.
        """
        for start in range(0, count, BATCH):
            yield self.drawn(range(start, min(start + BATCH, count)))

    def drawn(self, positions: range) -> Tensor:
        """The samples (n, *shape) at some positions, float32, in one pass.

        Raises:
            UserError: the generator gives NaN or infinite values.
        """
        batch = self.game.sample(self.inputs(len(positions), positions.start))
        if not torch.isfinite(batch).all():
            raise UserError(
                "The generator's samples hold NaN or infinite values: its training has"
                " diverged, so use an earlier checkpoint."
            )
        return batch

    def extractor(self) -> tuple[Extractor | None, str]:
        """The extractor asked for, or the best at hand, ready for use; and why there is none.

        Raises:
            UserError: there is none of that name, or its weights are not to be had.
        """
        extractor, why = self._choose_extractor()
        if extractor is not None:
            extractor.load(self.device)
        return extractor, why

    def _choose_extractor(self) -> tuple[Extractor | None, str]:
        name = self.config.extractor
        if name == NONE:
            return None, ""
        if name is not None:
            return extractor_named(name, self.config.weights), ""
        extractor = extractor_named(self.data.extractor or INCEPTION, download=False)
        reason = why_not_at_hand(extractor, self.device, f"extractor={extractor.name}")
        return (extractor, "") if reason is None else (None, reason)


def caption_for(subject: Subject) -> str:
    """Run, iteration, and the scores that the run recorded last at that iteration."""
    iteration, title = subject.run.iteration, subject.run.about(subject.game)["title"]
    known = read_records(subject.run.records)
    scores = [record["scores"] for record in known if record["iteration"] == iteration]
    return caption_of(title, iteration, scores[-1] if scores else {})
