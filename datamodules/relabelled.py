"""Any data set with other labels, or with vectors: clusters, features, soft assignments."""

from collections.abc import Sequence
from pathlib import Path

from saddlepoint.datamodules.annotation_file import check_annotation, read_annotation
from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.fields import Field, Label
from saddlepoint.datamodules.source import Source
from saddlepoint.datamodules.wrapper import Wrapper
from saddlepoint.errors import UserError
from saddlepoint.schema import checked


class Joined(Wrapper):
    """A data set whose items have more fields, or others, than it knows.

    Row i of a field belongs to the item with ``index`` i: to the i-th of those that the set trains
    on, without those that it holds out, of which the fields say nothing. Name, images and their
    digest stay what they are.

    Args:
        of: the data set.
        fields: by name; `join` gives them where they are known later.
    """

    def __init__(self, of: DataModule, **fields: Field) -> None:
        super().__init__(of)
        self.fields = fields

    def join(self) -> dict[str, Field]:
        """The fields that take the place of the set's own or are added to them."""
        return self.fields

    def load(self) -> Source:
        """Join the fields to the items."""
        fields = self.join()  # a wrong file is refused before the set is decoded
        return self.of.source.replaced(**fields)

    def load_held_out(self) -> tuple[str, Source] | None:
        """The items that the set holds out, without what the fields say of others."""
        held_out = self.of.held_out
        if held_out is None:
            return None
        told = {n: None for n in self.source if self.source[n] is not self.of.source.get(n)}
        told = {name: None for name in told if name not in ("image", "index")}
        return held_out.name, held_out.source.replaced(**told)


class Relabelled(Joined):
    """A data set whose items have the class ids, or the vectors, of a file.

    Ids take the place of the set's own classes, vectors are added.

    Args:
        of: the data set.
        file: ids or vectors, see `datamodules.annotation_file.read_annotation`.
        names: of the classes.
    """

    @checked
    def __init__(
        self, of: DataModule, file: str | Path | None, *, names: Sequence[str] | None = None
    ) -> None:
        super().__init__(of)
        self.file = None if file is None else Path(file).expanduser()
        self.names = names

    def join(self) -> dict[str, Field]:
        """Read the file."""
        if self.file is None:
            raise UserError("No labels given: say datamodule.file=... (ids or vectors).")
        check_annotation(self.file)
        field = read_annotation(self.file, self.of.source.count, self.names)
        return {"label" if isinstance(field, Label) else "vector": field}
