"""What identifies data: hashes of what is served.

The digest of images in memory is a SHA-256 over their pixels, so it holds for exactly what a
network sees, from whatever files they came. The digest of a set too large to decode beforehand is a
SHA-256 over the bytes of its files and the recipe that decodes them; it starts with another word,
for it cannot vouch for the decoder. What is known of the images (labels, points) has digests of its
own: a set with other labels is the same set.

Names, sizes and times of files identify nothing. They only serve to find again what was computed
from large files (their decoded images, their digest), as make and git do: the time of a file
changes when someone writes to it.
"""

import hashlib
import logging
import os
from pathlib import Path

from torch import Tensor

from saddlepoint.atomic import UnwritableError, write_text
from saddlepoint.errors import UserError

log = logging.getLogger(__name__)

#: Files up to this size together are read anew in every run to see whether they have changed.
CHEAP_TO_READ = 2**30


def sha256_of(tensor: Tensor) -> str:
    """SHA-256 over type, shape and elements of a tensor in row-major order."""
    array = tensor.contiguous().numpy()
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(array.data)
    return digest.hexdigest()


def digest_of_files(files: list[Path], recipe: str, cache_dir: Path | None) -> str:
    """Digest of images decoded on the way: ``files-sha256-`` and 64 hexadecimal digits.

    Reading all files takes a while; the result is kept in ``cache_dir``.
    """
    note = cache_dir / f"{_join(_stat(files))[:32]}.sha256" if cache_dir is not None else None
    content = note.read_text() if note is not None and note.is_file() else ""
    if len(content) != 64:
        log.info("Computing the digest of %d files", len(files))
        content = _join(*map(_sha256_of_file, files))
        if note is not None:
            _keep(note, content)
    return "files-sha256-" + _join(content, recipe)


def version_of_files(files: list[Path]) -> str:
    """Tells whether files have changed: by their bytes, or by size and time if there are many."""
    if sum(_stat_of(file).st_size for file in files) <= CHEAP_TO_READ:
        return _join(*map(_sha256_of_file, files))
    return _join(_stat(files))


def _sha256_of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _stat(files: list[Path]) -> str:
    return repr([(str(f), (s := _stat_of(f)).st_size, s.st_mtime_ns) for f in files])


def _stat_of(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _join(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _keep(note: Path, content: str) -> None:
    try:
        write_text(note, content)
    except UnwritableError as error:
        log.warning("Cannot keep the digest in %s (%s)", note.parent, error.cause)
