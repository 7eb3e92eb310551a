"""Files that are written whole or not at all, and one sentence where they cannot be."""

import contextlib
import errno
import hashlib
import io
import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from saddlepoint.errors import UserError

#: Cause and cure by the number of the system's error.
CAUSES = {
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("your share of the disk is used up", "free some space"),
    errno.EFBIG: ("the file is larger than allowed here", "raise that limit or write elsewhere"),
    errno.EROFS: ("the disk is read-only", "write elsewhere"),
    errno.EACCES: ("you may not write there", "write elsewhere"),
    errno.EPERM: ("you may not write there", "write elsewhere"),
    errno.ENOENT: ("its folder is gone", "put the folder back or write elsewhere"),
    errno.ENOTDIR: ("what should be its folder is a file", "write elsewhere"),
    errno.EEXIST: ("what should be its folder is a file", "write elsewhere"),
    errno.EISDIR: ("there is a folder of that name", "choose another name"),
}
#: Seconds after which a temporary file that nobody writes to is one that a killed process left.
ABANDONED = 3600


class UnwritableError(UserError):
    """A file cannot be written; what was there before is as it was.

    Attributes:
        cause: in a few words.
    """

    def __init__(self, path: Path, error: OSError, hint: str = "") -> None:
        known = error.strerror or str(error), "see to it or write elsewhere"
        self.cause, cure = CAUSES.get(error.errno, known)
        super().__init__(f"{path} cannot be written ({self.cause}): {cure}{hint}.")


@contextlib.contextmanager
def whole_file(
    path: str | Path, *, hint: str = "", make_folder: bool = True
) -> Iterator[IO[bytes]]:
    """Open a file for writing; it appears under its name when it is complete and on the disk.

    It is written under another name beside ``path``, one that no other process or machine takes,
    flushed to the disk and renamed. If anything fails on the way the other file is removed; what a
    killed process left is removed by the next that writes the same file on its machine.

    Args:
        path: of the file; one that is there is replaced.
        hint: what else a user should know if it cannot be written; ends the sentence.
        make_folder: whether missing folders are made too.

    Raises:
        UnwritableError: it cannot be written; names the cause and the cure.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{_writer()}.{uuid.uuid4().hex}.tmp")
    raw = None
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        raw = _Raw(temporary, "xb")
        with io.BufferedWriter(raw) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        # torch's zip writer turns a failed write into a RuntimeError of its own.
        hidden = raw.failure if raw is not None and isinstance(error, RuntimeError) else None
        failure = error if isinstance(error, OSError) else hidden
        if failure is None:
            raise
        raise UnwritableError(path, failure, hint) from error


def write_text(path: str | Path, text: str, *, make_folder: bool = True) -> None:
    """Write text as UTF-8, see `whole_file`.

    Raises:
        UnwritableError: it cannot be written.
    """
    with whole_file(path, make_folder=make_folder) as file:
        file.write(text.encode())


def append(path: str | Path, content: bytes, *, flush: bool = True) -> None:
    """Append to a file; if it fails nothing is added.

    Args:
        path: of the file; its folder is there.
        content: what to append.
        flush: whether to wait until it is on the disk, so that it survives a power cut.

    Raises:
        UnwritableError: it cannot be written.
    """
    path = Path(path)
    try:
        with path.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                while content:
                    content = content[file.write(content) :]
                if flush:
                    os.fsync(file.fileno())
            except BaseException:
                with contextlib.suppress(OSError):
                    file.truncate(before)
                raise
    except OSError as error:
        raise UnwritableError(path, error) from error


@contextlib.contextmanager
def one_process_at_a_time(path: Path) -> Iterator[None]:
    """Let one process do what others of the same machine then find done.

    Args:
        path: of a lock file, made if need be. Where there are no such locks nobody waits.
    """
    try:
        import fcntl

        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    except (ImportError, OSError):
        yield
        return
    with lock:
        yield


class _Raw(io.FileIO):
    """A file that remembers why it could not be written."""

    failure: OSError | None = None

    def write(self, content: object) -> int:
        try:
            return super().write(content)
        except OSError as error:
            self.failure = error
            raise


def _remove_abandoned(path: Path) -> None:
    for left in path.parent.glob(f".{path.name.translate(_LITERAL)}.*.tmp"):
        with contextlib.suppress(OSError):  # another process was faster
            old = time.time() - left.stat().st_mtime > ABANDONED
            if old or _is_of_the_dead(left.name.removeprefix(f".{path.name}.")):
                left.unlink()


def _machine() -> str:
    """What process numbers are unique on, in letters that a name may have."""
    host = hashlib.sha256(f"{socket.gethostname()} {uuid.getnode()}".encode())
    with contextlib.suppress(OSError):  # containers of one machine count their processes apart
        host.update(bytes(Path("/proc/self/ns/pid").readlink()))
    return host.hexdigest()[:12]


def _writer() -> str:
    return f"{_machine()}-{os.getpid()}"


def _is_of_the_dead(rest: str) -> bool:
    """Whether a temporary file was made on this machine by a process that is no more."""
    machine, _, number = rest.split(".", 1)[0].partition("-")
    if machine != _machine() or not number.isdecimal() or os.name != "posix":
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


_LITERAL = str.maketrans({character: f"[{character}]" for character in "*?["})


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where folders can be flushed."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
