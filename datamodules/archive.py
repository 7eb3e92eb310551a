"""Files by name, in a folder or in a zip."""

import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import torch

from saddlepoint.datamodules.fields import Label
from saddlepoint.errors import UserError

IMAGE_SUFFIXES = ("bmp", "gif", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp")
LABEL_FILE = "dataset.json"
#: Bytes of one encoded image; what is larger is refused before it is read or unpacked.
LARGEST_FILE = 2**28
#: Bytes of ``dataset.json``: this much for the names of classes, and so much for each image.
LABEL_BYTES, LABEL_BYTES_PER_IMAGE = 2**20, 2**10
#: Classes that may have no name in a few images of many; otherwise there are no more than images.
NAMELESS_CLASSES = 2**10
#: Bytes unpacked at a time. Old methods unpack all they are given, up to 20,000 times as much.
CHUNK, SMALL_CHUNK = 2**20, 2**12


class Folder:
    """The files below a directory; links are followed that stay below it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Relative names of all files, sorted.

        Raises:
            UserError: a folder cannot be read, or a link leads out of this one or round in circles.
        """
        names = []
        folders = [""]
        while folders:
            below = folders.pop()
            try:
                with os.scandir(self.path / below) as entries:
                    for entry in entries:
                        name = below + entry.name
                        if entry.is_symlink():
                            self._check_link(name)
                        if entry.is_dir():
                            folders.append(f"{name}/")
                        else:
                            names.append(name)
            except OSError as error:
                where = self.describe(below) if below else self.path
                raise UserError(f"cannot read {_shown(str(where))}: {error.strerror}") from error
        return sorted(names)

    def holds(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).is_file()

    def read(self, name: str, most: int = LARGEST_FILE) -> bytes:
        """Bytes of one file.

        Raises:
            UserError: it cannot be read, is no file, or has more than ``most`` bytes.
        """
        try:
            # Opening a pipe would wait for somebody to write into it.
            number = os.open(self.path / name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(number, "rb") as file:
                about = os.fstat(number)
                if not stat.S_ISREG(about.st_mode):
                    raise UserError(f"{self.describe(name)} is no file: leave it out")
                _check_size(about.st_size, most, self.describe(name))
                return file.read(most)
        except OSError as error:
            raise UserError(f"cannot read {self.describe(name)}: {error.strerror}") from error
        except ValueError as error:  # a name that no file can have
            raise UserError(f"cannot read {self.describe(name)}: {error}") from error

    def describe(self, name: str) -> str:
        """What to call a file in a message."""
        return str(self.path / name)

    def files(self, names: list[str]) -> list[Path]:
        """The files on the disk that hold ``names``."""
        return [self.path / name for name in names]

    def _check_link(self, name: str) -> None:
        root, target = os.path.realpath(self.path), os.path.realpath(self.path / name)
        if os.path.commonpath([root, target]) != root:
            raise UserError(
                f"{_shown(self.describe(name))} is a link that leads out of {self.path}: put what"
                " it leads to into the folder, or pack all into a zip"
            )
        own = os.path.realpath((self.path / name).parent)
        if os.path.commonpath([own, target]) == target:
            raise UserError(f"{_shown(self.describe(name))} is a link to a folder it lies in")


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

    def read(self, name: str, most: int = LARGEST_FILE) -> bytes:
        """Bytes of one member, checked against its CRC.

        Raises:
            UserError: it cannot be read, or unpacks to more than ``most`` bytes.
        """
        try:
            member = self._zip().getinfo(name)
            _check_size(member.file_size, most, self.describe(name))
            # What a member says of its size may be wrong: nothing is unpacked in one go.
            known = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            parts = []
            with self._zip().open(member) as file:
                while part := file.read(CHUNK if known else SMALL_CHUNK):
                    parts.append(part)
            return b"".join(parts)
        except UserError:
            raise
        except Exception as error:  # a damaged zip raises whatever its unpackers do
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
            except Exception as error:  # whatever damage makes of its directory
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
    for name in names:
        if not name.isascii() and _shown(name) != name:
            raise UserError(f"the name of {_shown(name)} in {archive.path} is no UTF-8: rename it")
    return names


def _shown(name: str) -> str:
    """A name of a file as it can be printed and hashed."""
    return name.encode(errors="backslashreplace").decode()


def _check_size(size: int, most: int, name: str) -> None:
    if size > most:
        raise UserError(
            f"{name} has {size:,} bytes, more than the {most:,} that are read: leave it out or"
            " make it smaller"
        )


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
    encoded = archive.read(LABEL_FILE, LABEL_BYTES + LABEL_BYTES_PER_IMAGE * len(names))
    try:
        content = json.loads(encoded)
        if content["labels"] is None:
            return None
        labels = {str(name): label for name, label in content["labels"]}
        named = content.get("classes")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f'{source} is not of the form {{"labels": [[name, class], ...]}}'
        ) from error
    for name in names:
        if name not in labels:
            raise UserError(f"{source} has no label for {name}")
    present = set(names)
    for name, label in labels.items():
        if name not in present:
            raise UserError(f"{source} names {name[:80]}, which is missing in {archive.path}")
        if isinstance(label, bool) or not isinstance(label, int) or label < 0:
            raise UserError(
                f"{source} labels {name} with {_short(label)}: a class is an integer from 0"
            )
    largest = max(labels.values())
    if named and not (isinstance(named, list) and all(isinstance(n, str | int) for n in named)):
        raise UserError(f"{source} has classes {_short(named)}: give a list of their names")
    if named and len(named) <= largest:
        raise UserError(f"{source} names {len(named)} classes but has a label {_short(largest)}")
    if not named and largest >= max(len(names), NAMELESS_CLASSES):
        raise UserError(
            f"{source} has a label {_short(largest)}, which makes more classes than there are"
            ' images: count them from 0, or name them all in "classes"'
        )
    classes = tuple(map(str, named or range(largest + 1)))
    return Label(torch.tensor([labels[name] for name in names]), classes)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
