"""Files by name, in a folder or in a zip."""

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from saddlepoint.datamodules.fields import Label
from saddlepoint.errors import UserError

IMAGE_SUFFIXES = ("bmp", "gif", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp")
LABEL_FILE = "dataset.json"


class Folder:
    """The files below a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Relative names of all files, sorted; links to directories are followed."""
        names = []
        for directory, _, files in os.walk(self.path, followlinks=True):
            below = Path(directory).relative_to(self.path).as_posix()
            names += files if below == "." else [f"{below}/{file}" for file in files]
        return sorted(names)

    def holds(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """Bytes of one file."""
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {self.describe(name)}: {error.strerror}") from error

    def describe(self, name: str) -> str:
        """What to call a file in a message."""
        return str(self.path / name)

    def files(self, names: list[str]) -> list[Path]:
        """The files on the disk that hold ``names``."""
        return [self.path / name for name in names]


class Zip:
    """The members of a zip; every process opens it for itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    def names(self) -> list[str]:
        """Names of all members, sorted."""
        return sorted(m.filename for m in self._zip().infolist() if not m.is_dir())

    def holds(self, name: str) -> bool:
        """Whether there is such a member."""
        return name in self._zip().NameToInfo

    def read(self, name: str) -> bytes:
        """Bytes of one member, checked against its CRC."""
        try:
            return self._zip().read(name)
        except (OSError, RuntimeError, EOFError, KeyError, zipfile.error, zlib.error) as error:
            raise UserError(f"cannot read {self.describe(name)}: {error}") from error

    def describe(self, name: str) -> str:
        """What to call a member in a message."""
        return f"{name} in {self.path}"

    def files(self, names: list[str]) -> list[Path]:
        """The files on the disk that hold ``names``: the zip itself."""
        return [self.path]

    def _zip(self) -> zipfile.ZipFile:
        # Two processes that share one open file would move each other's position in it.
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = os.getpid(), zipfile.ZipFile(self.path)
            except zipfile.BadZipFile as error:
                raise UserError(f"{self.path} is no readable zip: {error}") from error
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_opened": None}


def open_archive(path: Path) -> Folder | Zip:
    """Open a folder or a zip.

    Raises:
        UserError: there is neither at ``path``.
    """
    if path.is_dir():
        return Folder(path)
    if path.is_file():
        return Zip(path)
    raise UserError(f"there is no folder and no zip of images at {path}")


def image_names(archive: Folder | Zip) -> list[str]:
    """Names of all images, sorted; hidden files and those that systems leave behind are no images.

    Raises:
        UserError: there are none.
    """
    names = [
        name
        for name in archive.names()
        if name.rpartition(".")[2].lower() in IMAGE_SUFFIXES
        and not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    ]
    if not names:
        raise UserError(
            f"no image in {archive.path}: looked for files ending in {', '.join(IMAGE_SUFFIXES)}"
        )
    return names


def read_labels(archive: Folder | Zip, names: list[str]) -> Label | None:
    """Find the class of every image.

    From ``dataset.json``, ``{"labels": [[name, class index], ...], "classes": [...]}`` (the layout
    of StyleGAN's data set tool; "classes" is optional, and labels may be null), else from the
    folders at the top, one for each class, in alphabetical order.

    Returns:
        Their classes; None if they have none.

    Raises:
        UserError: ``dataset.json`` is not of this form or not about these images; images lie both
            beside class folders and in them.
    """
    if archive.holds(LABEL_FILE):
        return _labels_from_json(archive, names)
    folders = [name.split("/")[0] if "/" in name else None for name in names]
    classes = sorted({folder for folder in folders if folder is not None})
    if len(set(folders)) == 1:  # one folder tells nothing apart
        return None
    if None in folders:
        raise UserError(
            f"{archive.path} holds images both in folders ({classes[0]}) and beside them "
            f"({names[folders.index(None)]}): put every image into the folder of its class"
        )
    index = {name: i for i, name in enumerate(classes)}
    return Label(torch.tensor([index[folder] for folder in folders]), classes)


def _labels_from_json(archive: Folder | Zip, names: list[str]) -> Label | None:
    source = archive.describe(LABEL_FILE)
    try:
        content = json.loads(archive.read(LABEL_FILE))
        if content["labels"] is None:
            return None
        labels = {str(name): label for name, label in content["labels"]}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{source} is not of the form {{"labels": [[name, class], ...]}}'
        ) from error
    for name in names:
        if name not in labels:
            raise UserError(f"{source} has no label for {name}")
    present = set(names)
    for name, label in labels.items():
        if name not in present:
            raise UserError(f"{source} names {name}, which is missing in {archive.path}")
        if not isinstance(label, int) or label < 0:
            raise UserError(f"{source} labels {name} with {label!r}: a class is an integer from 0")
    count = max(labels.values()) + 1
    classes = tuple(map(str, content.get("classes") or range(count)))
    if len(classes) < count:
        raise UserError(f"{source} names {len(classes)} classes but has a label {count - 1}")
    return Label(torch.tensor([labels[name] for name in names]), classes)
