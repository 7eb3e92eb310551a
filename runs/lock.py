"""A run folder has one writer.

The lock is the kernel's, of a process on a file: it ends with that process, SIGKILL included, and
the loader's workers do not keep it. It holds over NFS too; where there are no locks it says so.
"""

import contextlib
import fcntl
import logging
import os
import platform
from pathlib import Path
from typing import IO

from saddlepoint.errors import UserError

log = logging.getLogger(__name__)

NAME = ".lock"
#: Locks of this process: one that opens the file again and closes it would lose its lock.
_own: dict[Path, IO[str]] = {}


class HeldError(UserError):
    """Another process writes to the folder of a run.

    Attributes:
        holder: that process and its machine, in words.
    """

    def __init__(self, folder: Path, holder: str) -> None:
        self.holder = holder
        super().__init__(
            f"The run {folder} is going on in {holder}: wait until it ends, or stop it first."
        )


def hold(folder: Path) -> IO[str]:
    """Become the writer of a run's folder, as long as the file returned is open.

    Raises:
        HeldError: another process is.
        UserError: the folder cannot be written to.
    """
    try:
        file = (folder / NAME).open("a+")
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to ({error.strerror}): make it writable, or choose another"
            " output_dir."
        ) from error
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # which of them, the system chooses
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise HeldError(folder, holder) from error
    except OSError as error:
        log.warning("%s has no locks (%s): start no second run there", folder, error.strerror)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    _own[folder.resolve()] = file
    return file


def is_held(folder: Path) -> bool:
    """Whether some process writes there."""
    own = _own.get(folder.resolve())
    if own is not None and not own.closed:
        return True
    with contextlib.suppress(OSError), (folder / NAME).open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
    return False


def holder(folder: Path) -> tuple[int, str] | None:
    """Number and machine of the process that writes there, or did last; None if none ever did."""
    with contextlib.suppress(OSError, ValueError):
        _, number, _, machine = (folder / NAME).read_text().split()
        return int(number), machine
    return None
