"""The file a run resumes from: written whole or not at all, read without running code in it."""

import errno
import os
import pickle
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from saddlepoint.errors import UserError

FORMAT = "saddlepoint"
VERSION = 1
LAST = Path("checkpoints") / "last.ckpt"


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint to a temporary file beside ``path`` and rename it.

    Raises:
        UserError: the file cannot be written; the checkpoint that was there is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save({**_header(), **content}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        # torch's zip writer turns a failed write into a RuntimeError.
        temporary.unlink(missing_ok=True)
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        raise UserError(
            f"The checkpoint {path} cannot be written ({'the disk is full' if full else error});"
            " the previous one is kept: free some space and resume with ckpt=last."
        ) from error


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; tensors and plain values only, no code is ever unpickled.

    Args:
        path: the file, or the folder of a run.

    Raises:
        UserError: there is none, it is torn, not one of ours, or from a later version.
    """
    path = Path(path)
    if path.is_dir():
        path = path / LAST
    if not path.exists():
        raise UserError(f"There is no checkpoint {path}: give a .ckpt file or the folder of a run.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        content = None
    except (RuntimeError, EOFError, OSError) as error:
        raise UserError(f"The checkpoint {path} is damaged: resume from another one.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a Saddlepoint checkpoint: give one that train.py wrote.")
    if content["version"] != VERSION:
        raise UserError(
            f"{path} has checkpoint format {content['version']} and this version reads"
            f" {VERSION}: use the version of Saddlepoint that wrote it ({content['written_by']})."
        )
    return content


def runs_by_age(output_dir: str | Path) -> list[Path]:
    """Checkpointing ``last.ckpt`` of all runs under ``output_dir``, the newest first."""
    found = Path(output_dir).rglob(str(LAST))
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _header() -> dict[str, Any]:
    try:
        written_by = version("saddlepoint")
    except PackageNotFoundError:
        written_by = "a checkout that is not installed"
    return {"format": FORMAT, "version": VERSION, "written_by": written_by}
