"""Any data set with other labels, or with vectors: clusters, features, soft assignments."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from saddlepoint.datamodules.annotation_file import check_annotation, read_annotation
from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.fields import Label
from saddlepoint.datamodules.source import Source
from saddlepoint.errors import UserError
from saddlepoint.schema import checked


class Relabelled(DataModule):
    """A data set whose items have the class ids, or the vectors, of a file.

    Row i belongs to the item with ``index`` i: to the i-th of those that the set trains on, without
    those that it holds out. Ids take the place of the set's own classes, vectors are added. Nothing
    is known of the items held out: they have neither. Name, images and their digest stay what they
    are; how items are served (flip, resident, ...) is for the set itself to say.

    Args:
        of: the data set.
        file: ids or vectors, see `datamodules.annotation_file.read_annotation`.
        names: of the classes.
    """

    @checked
    def __init__(
        self, of: DataModule, file: str | Path | None, *, names: Sequence[str] | None = None
    ) -> None:
        super().__init__(
            of.name,
            flip=of.flip,
            resident=of.resident,
            resident_mb=of.resident_mb,
            num_workers=of.num_workers,
            cache_dir=of.cache_dir,
        )
        self.of = of
        self.file = None if file is None else Path(file).expanduser()
        self.names = names
        self.protocol, self.extractor = of.protocol, of.extractor

    def load(self) -> Source:
        """Join the file to the items."""
        if self.file is None:
            raise UserError("No labels given: say datamodule.file=... (ids or vectors).")
        check_annotation(self.file)  # before the set is decoded
        items = self.of.source
        field = read_annotation(self.file, items.count, self.names)
        return items.replaced(**{"label" if isinstance(field, Label) else "vector": field})

    def load_held_out(self) -> tuple[str, Source] | None:
        """The items that the set holds out, without what the file says of others."""
        held_out = self.of.held_out
        if held_out is None:
            return None
        told = {name: None for name in ("label", "vector") if self._tells(name)}
        return held_out.name, held_out.source.replaced(**told)

    def _tells(self, name: str) -> bool:
        return self.source.get(name) is not self.of.source.get(name)

    @property
    def mode_centres(self) -> Tensor | None:
        """Means of the modes of points."""
        return self.of.mode_centres

    @property
    def mode_std(self) -> float | None:
        """Standard deviation of the modes of points."""
        return self.of.mode_std
