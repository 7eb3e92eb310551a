"""Your own images: a folder, a folder for each class, or a zip of either."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from saddlepoint.datamodules.archive import image_names, open_archive, read_labels
from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.decode import Decoder
from saddlepoint.datamodules.fields import Attributes, Field, Label
from saddlepoint.datamodules.fixed_regions import fixed_boxes
from saddlepoint.datamodules.image_files import ImageFiles
from saddlepoint.datamodules.mask_files import read_masks
from saddlepoint.datamodules.source import Source
from saddlepoint.errors import UserError
from saddlepoint.schema import Natural, Size, checked


class Folder(DataModule):
    """Images in a folder or a zip, with classes from ``dataset.json`` or from folders.

    Transparent images are laid on white. Images of different sizes need a ``resolution``, grey ones
    among coloured ones need ``channels``.

    Args:
        path: the folder or the zip.
        name: of the data set, as it stands in records; by default that of the file.
        resolution: each image's largest centred square is resized to this many pixels (Lanczos);
            None keeps the sizes of the files.
        channels: 1 (grey) or 3 (RGB); None keeps what the files have.
        exclude: names of images to leave out, as they stand below ``path``.
        test_list: text file that names the images to test on, or folders of such images, one in a
            line, as they stand below ``path``; None holds out what ``held_out`` says.
        attributes: classes that become binary attributes, besides: "smiling" of the two classes
            "smiling" and "not_smiling".
        regions: the same boxes for all images, which have to be aligned: {name: {"box": (left, top,
            right, bottom) as shares of the sides, "attributes": those that it shows}}.
        masks: folder or zip with a mask for each image, under its name; what is not black is 1.
        dilate: pixels by which masks grow.
        settings: of `DataModule`.
    """

    stand_in = "own_images"

    @checked
    def __init__(
        self,
        path: str | Path | None,
        *,
        name: str | None = None,
        resolution: Size | None = None,
        channels: Literal[1, 3] | None = None,
        exclude: Sequence[str] = (),
        test_list: str | Path | None = None,
        attributes: Sequence[str] = (),
        regions: Mapping[str, Mapping[str, Any]] | None = None,
        masks: str | Path | None = None,
        dilate: Natural = 0,
        **settings: Any,
    ) -> None:
        self.path = None if path is None else Path(path).expanduser()
        super().__init__(name or (self.path.stem if self.path else "folder"), **settings)
        self.exclude = tuple(exclude)
        self.test_list = None if test_list is None else Path(test_list).expanduser()
        self.attributes, self.regions = tuple(attributes), dict(regions or {})
        self.masks = None if masks is None else Path(masks).expanduser()
        self.dilate = dilate
        self.decoder = Decoder(resolution=resolution, channels=channels)

    def load(self) -> Source:
        """Find the images to train on, and what is known of them.

        Raises:
            UserError: there are none, or their labels do not fit them.
        """
        return self._find(testing=False)

    def load_held_out(self) -> tuple[str, Source] | None:
        """The images of the list, where there is one."""
        return None if self.test_list is None else ("test", self._find(testing=True))

    def _find(self, testing: bool) -> Source:
        if self.path is None:
            raise UserError("no images given: say datamodule.path=... (a folder, or a zip)")
        archive = open_archive(self.path)
        names = image_names(archive)
        label = read_labels(archive, names)
        for name in self.exclude:
            if name not in names:
                raise UserError(f"datamodule.exclude names {name}, which is not in {self.path}")
        listed = self._listed(names)
        kept = [
            i
            for i, name in enumerate(names)
            if name not in self.exclude and (name in listed) == testing
        ]
        if not kept:
            raise UserError(f"{self.test_list} leaves no image of {self.path} to train on")
        names = [names[i] for i in kept]
        images = ImageFiles(archive, names, self.decoder)
        fields: dict[str, Field] = {}
        if label is not None:
            fields["label"] = label.only(torch.tensor(kept))
        if self.attributes:
            fields["attributes"] = self._attributes(fields.get("label"))
        if self.regions:
            fields["boxes"] = fixed_boxes(
                self.regions, self.attributes, len(images), images.shape[1:]
            )
        if self.masks is not None:
            fields["mask"] = read_masks(self.masks, names, self.decoder, self.dilate)
        return Source(image=images, **fields)

    def _listed(self, names: list[str]) -> set[str]:
        """Images that the list names, or whose folder it names."""
        if self.test_list is None:
            return set()
        try:
            lines = self.test_list.read_text("utf8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"datamodule.test_list={self.test_list} cannot be read: {error}"
            ) from error
        listed: set[str] = set()
        for line in filter(None, map(str.strip, lines)):
            found = {
                name for name in names if name == line or name.startswith(f"{line.rstrip('/')}/")
            }
            if not found:
                raise UserError(f"{self.test_list} names {line[:80]}, which is not in {self.path}")
            listed |= found
        return listed

    def _attributes(self, label: Label | None) -> Attributes:
        classes = () if label is None else label.names
        for name in self.attributes:
            if name not in classes:
                raise UserError(
                    f"datamodule.attributes names {name}, which is no class of {self.name}: choose"
                    f" of {', '.join(classes[:20]) or 'none'}"
                )
        wanted = torch.tensor([classes.index(name) for name in self.attributes])
        values = (label.values[:, None] == wanted).to(torch.uint8)
        return Attributes(values, self.attributes, [self.attributes] * (len(wanted) > 1))
