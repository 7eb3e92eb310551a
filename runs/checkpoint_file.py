"""The file a run resumes from: written whole or not at all, read without running code in it."""

import pickle
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from saddlepoint.atomic import whole_file
from saddlepoint.errors import UserError
from saddlepoint.runs.content_hash import sha256_of

FORMAT = "saddlepoint"
VERSION = 2
#: What every checkpoint holds, and as what.
KEYS = {"config": dict, "overrides": list, "data": dict, "game": dict, "seconds": (int, float)}
LAST = Path("checkpoints") / "last.ckpt"


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        UserError: the file cannot be written; the checkpoint that was there is kept.
    """
    hint = ", and resume with ckpt=last, as the checkpoint before it is kept"
    with whole_file(path, hint=hint, make_folder=False) as file:
        torch.save({**_header(), "sha256": sha256_of(content), "content": content}, file)


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; tensors and plain values only, no code is ever unpickled.

    Args:
        path: the file, or the folder of a run.

    Raises:
        UserError: there is none, it is damaged, not one of ours, or from another version.
    """
    path = Path(path)
    if path.is_dir():
        path = path / LAST
    if not path.exists():
        raise UserError(f"There is no checkpoint {path}: give a .ckpt file or the folder of a run.")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        stored = None
    except Exception as error:  # torch's reader meets a damaged file in many ways
        raise _damaged(path) from error
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise UserError(f"{path} is not a Saddlepoint checkpoint: give one that train.py wrote.")
    if stored.get("version") != VERSION:
        raise UserError(
            f"{path} has checkpoint format {stored.get('version')} and this version reads"
            f" {VERSION}: use the version of Saddlepoint that wrote it"
            f" ({stored.get('written_by')})."
        )
    content = stored.get("content")
    try:
        whole = stored.get("sha256") == sha256_of(content)
    except TypeError as error:
        raise _damaged(path) from error
    if not whole or not isinstance(content, dict) or not content.keys() >= KEYS.keys():
        raise _damaged(path)
    # A string in place of settings would be read as YAML, and not be looked through before.
    alike = all(isinstance(content[key], kind) for key, kind in KEYS.items())
    if not alike or not all(isinstance(word, str) for word in content["overrides"]):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> UserError:
    return UserError(f"The checkpoint {path} is damaged: resume from another one.")


def _header() -> dict[str, Any]:
    try:
        written_by = version("saddlepoint")
    except PackageNotFoundError:
        written_by = "a checkout that is not installed"
    return {"format": FORMAT, "version": VERSION, "written_by": written_by}
