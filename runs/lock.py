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


def hold(folder: Path) -> IO[str]:
    """Become the writer of a run's folder, as long as the file returned is open.

    Raises:
        UserError: another process is; names it and its machine.
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
        raise UserError(
            f"The run {folder} is going on in {holder}: wait until it ends, or stop it first."
        ) from error
    except OSError as error:
        log.warning("%s has no locks (%s): start no second run there", folder, error.strerror)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    return file


def is_held(folder: Path) -> bool:
    """Whether some process writes there."""
    with contextlib.suppress(OSError), (folder / NAME).open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
    return False
