"""Any data set with classes, of which some are kept for few-shot methods to meet after training."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.episodes import (
    ByClass,
    EpisodicOrder,
    TaskOrder,
    with_examples,
    without_repetition,
)
from saddlepoint.datamodules.fields import Label
from saddlepoint.datamodules.order import Plan
from saddlepoint.datamodules.source import Source
from saddlepoint.datamodules.spec import DataSpec
from saddlepoint.datamodules.split import Split, divided
from saddlepoint.datamodules.wrapper import Wrapper
from saddlepoint.errors import UserError
from saddlepoint.items import Items
from saddlepoint.randomness import keyed_generator
from saddlepoint.schema import Count, Share, checked, nearest

#: What stands between the parts of a class's name.
PARTS = re.compile(r"\s*[-,/]\s*")


class ClassSplit(Wrapper):
    """A data set whose classes are divided into source classes and target classes.

    Nothing of a target class is ever trained on. Source classes are counted from 0, target classes
    after them. The set's own division of images goes across: of its training images, those of
    source classes are trained on and those of target classes are `support`, from which examples are
    drawn; its held-out images are held out, those of source classes as contents to translate,
    those of target classes to compare with.

    An item to train on comes with ``shots`` (K, *shape), examples of another source class, and
    that class as ``target``.

    Args:
        of: the data set; has classes.
        targets: names of the target classes; a name stands for every class that has it among its
            parts ("red" for "male-red").
        file: a text file with these names, one a line, in place of ``targets``.
        share: share of the classes that are targets, drawn once for all runs, where neither says.
        held_out: share of the images of all classes that are held out, where the set itself holds
            none out.
        shots: examples K of an episode of training.
        other_class: whether an item is never given examples of its own class; the released code of
            FUNIT does not look.
        episode: "item": each item has an episode of its own; "task": all items of an iteration
            share one class.
    """

    @checked
    def __init__(
        self,
        of: DataModule,
        *,
        targets: Sequence[str] | None = None,
        file: str | Path | None = None,
        share: Share = 0.2,
        held_out: Share = 0.2,
        shots: Count = 1,
        other_class: bool = True,
        episode: Literal["item", "task"] = "item",
    ) -> None:
        super().__init__(of)
        self.protocol = None  # the set's own compares with what is trained on
        self.targets = targets
        self.file = None if file is None else Path(file).expanduser()
        self.share, self.shots, self.share_held_out = share, shots, held_out
        self.other_class, self.episode = other_class, episode

    # Classes --------------------------------------------------------------------------------------

    @property
    def source_classes(self) -> tuple[str, ...]:
        """Names of the classes to train on."""
        return self._classes[0]

    @property
    def target_classes(self) -> tuple[str, ...]:
        """Names of the classes that are kept for later; their numbers follow the sources'."""
        return self._classes[1]

    @cached_property
    def _classes(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        names = self.of.source.names("label")
        if len(names) < 3:
            raise UserError(
                f"datamodule=class_split needs at least 3 classes and {self.of.name} has"
                f" {len(names)}: choose another datamodule@datamodule.of=."
            )
        targets = self._named_targets(names)
        if targets is None:
            order = torch.randperm(len(names), generator=keyed_generator("target classes"))
            targets = {names[i] for i in order[: round(self.share * len(names))].tolist()}
        sources = tuple(name for name in names if name not in targets)
        if len(sources) < 2 or not targets:
            raise UserError(
                f"{len(targets)} of the {len(names)} classes of {self.of.name} would be targets:"
                " leave at least one, and two others to train on."
            )
        return sources, tuple(name for name in names if name in targets)

    def _named_targets(self, names: Sequence[str]) -> set[str] | None:
        if self.targets is not None and self.file is not None:
            raise UserError("Target classes are given twice: give datamodule.targets or .file.")
        wanted = self.targets
        if self.file is not None:
            wanted = _lines(self.file)
        if wanted is None:
            return None
        found: set[str] = set()
        for name in map(str, wanted):
            matching = {each for each in names if name in (each, *PARTS.split(each))}
            if not matching:
                near = nearest(name, names)
                hint = f"did you mean {near}?" if near else f"choose of {', '.join(names[:20])}."
                raise UserError(f"{self.of.name} has no class {name}: {hint}")
            found |= matching
        return found

    # Items ----------------------------------------------------------------------------------------

    def load(self) -> Source:
        """The training images of source classes."""
        source = self._chosen(self._sides[0], self.source_classes, self.source_classes)
        counts = torch.bincount(source.label.values, minlength=len(self.source_classes))
        if counts.min() < self.shots:
            name = self.source_classes[counts.argmin()]
            raise UserError(
                f"The class {name} has {counts.min()} images to train on and an episode takes"
                f" {self.shots}: lower datamodule.shots, or leave the class out."
            )
        return source

    def load_held_out(self) -> tuple[str, Source] | None:
        """The held-out images of all classes."""
        name = "held_out" if self.of.held_out is None else self.of.held_out.name
        names = self.source_classes + self.target_classes
        return name, self._chosen(self._sides[1], names, names)

    @cached_property
    def held_out(self) -> Split:
        """See `DataModule.held_out`; its ``target`` comes from `support`, which its spec names."""
        held_out = super().held_out
        named = {**held_out.spec.annotations, "target": self.support.spec.digest}
        held_out.spec = replace(held_out.spec, annotations=named)
        return held_out

    @cached_property
    def _sides(self) -> tuple[Source, Source]:
        """Training and held-out images of all classes."""
        if self.of.held_out is None:
            return divided(self.of.source, self.share_held_out)
        return self.of.source, self.of.held_out.source

    @cached_property
    def support(self) -> Split:
        """The training images of target classes: examples are drawn from them, after training."""
        names = self.source_classes + self.target_classes
        return self._split("support", self._chosen(self._sides[0], self.target_classes, names))

    @cached_property
    def contents(self) -> Split:
        """The held-out images of source classes, which are translated."""
        source = self.held_out.source
        kept = (source.label.values < len(self.source_classes)).nonzero()[:, 0]
        if not len(kept):
            raise UserError(
                f"{self.of.name} holds out no image of a source class: raise datamodule.held_out."
            )
        return self._split("contents", source.only(kept))

    @property
    def whole(self) -> DataModule:
        """The set with all of its classes, divided into the same training and held-out images."""
        return self.of if self.of.held_out is not None else _Divided(self.of, self._sides)

    @property
    def spec(self) -> DataSpec:
        """See `DataModule.spec`."""
        spec = self.training.spec
        return replace(
            spec, fields={**spec.fields, "shots": (self.shots, *spec.shape), "target": ()}
        )

    @staticmethod
    def _chosen(source: Source, classes: Sequence[str], names: Sequence[str]) -> Source:
        """The items of some classes, whose numbers are their places among the names."""
        own = source.names("label")
        number = torch.tensor([names.index(n) if n in classes else -1 for n in own])
        labels = number[source.label.values]
        kept = (labels >= 0).nonzero()[:, 0]
        return source.only(kept).replaced(label=Label(labels[kept], names))

    # Episodes -------------------------------------------------------------------------------------

    def order(self, plan: Plan, device: torch.device) -> EpisodicOrder:
        """Items with the examples of their episodes.

        Raises:
            UserError: a class is too small for a task.
        """
        items = ByClass(self.source.label.values, len(self.source_classes))
        wanted = plan.block_size * self.shots
        if self.episode == "task" and items.counts.min() < wanted:
            name = self.source_classes[items.counts.argmin()]
            raise UserError(
                f"A task takes {wanted} examples of one class and {name} has"
                f" {items.counts.min()}: lower batch_size, or leave the class out."
            )
        kind = EpisodicOrder if self.episode == "item" else TaskOrder
        return kind(plan, items, shots=self.shots, other_class=self.other_class, device=device)

    def finished(self, block: dict[str, Any]) -> dict[str, Any]:
        """Finish a block on the device, and gather the examples of each item."""
        block = super().finished(block)
        return {**block, "reals": with_examples(block["reals"], self.shots)}

    def examples(self, classes: Tensor, chances: Tensor) -> Items:
        """Draw examples of target classes from `support`.

        Args:
            classes: (n,) int64 numbers of target classes.
            chances: (n, K) in [0, 1); the first k examples are those of the first k chances.

        Returns:
            Fields (n, K, ...) as networks get them, without flips; all different in each row.

        Raises:
            UserError: a class has fewer than K.
        """
        counts = self._support.counts
        fewest = counts[classes].min()
        if fewest < chances.shape[1]:
            name = self.support.spec.classes[classes[counts[classes].argmin()]]
            raise UserError(
                f"The class {name} has {fewest} images to draw examples from, and"
                f" {chances.shape[1]} are wanted: ask for fewer shots."
            )
        chosen = self._support.examples(classes, chances)
        items = self.support.items_at(chosen.flatten())
        return items.map(lambda field: field.unflatten(0, chosen.shape))

    def others(self, chances: Tensor) -> Tensor:
        """Draw images to train on (n, K, *shape), by chances (n, K), as `examples`."""
        chosen = without_repetition(chances, torch.full((len(chances),), self.source.count))
        return self.items_at(chosen.flatten()).image.unflatten(0, chosen.shape)

    @cached_property
    def _support(self) -> ByClass:
        source = self.support.source
        return ByClass(source.label.values, len(source.names("label")))


class _Divided(Wrapper):
    """A data set whose images are divided into these to train on, and these that are held out."""

    def __init__(self, of: DataModule, sides: tuple[Source, Source]) -> None:
        super().__init__(of)
        self.sides = sides

    def load(self) -> Source:
        return self.sides[0]

    def load_held_out(self) -> tuple[str, Source]:
        return "held_out", self.sides[1]


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{file} cannot be read ({type(error).__name__}): give datamodule.file= a text file"
            " with the names of the target classes, one a line."
        ) from error
    return [line.strip() for line in lines if line.strip()]
