"""What a stage leaves behind: a file made once, found again, and checked when it is read."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from saddlepoint.atomic import whole_file

log = logging.getLogger(__name__)

FORMAT = "saddlepoint artifact"
VERSION = 1


@dataclass(frozen=True)
class Artifact:
    """What a stage has made.

    Attributes:
        name: of the stage.
        fingerprint: of everything it depends on.
        content: tensors on the CPU and plain values, by name.
    """

    name: str
    fingerprint: str
    content: dict[str, Any]


def path_of(folder: Path, name: str, fingerprint: str) -> Path:
    """Where an artifact lies."""
    return folder / f"{name}-{fingerprint}.pt"


def write(path: Path, artifact: Artifact) -> None:
    """Write an artifact with its SHA-256, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    header = {"format": FORMAT, "version": VERSION, "name": artifact.name}
    header |= {"fingerprint": artifact.fingerprint, "sha256": sha256_of(artifact.content)}
    with whole_file(path) as file:
        torch.save({**header, "content": artifact.content}, file)


def read(path: Path, name: str, fingerprint: str) -> Artifact | None:
    """Read what `write` wrote, without running code in it; None if it is not there or not whole."""
    if not path.exists():
        return None
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        header = {key: stored[key] for key in ("format", "version", "name", "fingerprint")}
        expected = (FORMAT, VERSION, name, fingerprint)
        if tuple(header.values()) == expected and stored["sha256"] == sha256_of(stored["content"]):
            return Artifact(name, fingerprint, stored["content"])
    except Exception as error:  # torch's reader meets a torn file in many ways
        log.debug("%s: %s", path, error)
    log.warning("%s is damaged and is made anew", path)
    return None


def sha256_of(content: Any) -> str:
    """SHA-256 over tensors and plain values, nested in dicts and lists, by value and type.

    Raises:
        TypeError: a value of another kind.
    """
    digest = hashlib.sha256()
    _feed(digest, content)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        digest.update(f"tensor {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, dict):
        digest.update(f"dict {len(value)} ".encode())
        for key, inner in value.items():
            _feed(digest, key)
            _feed(digest, inner)
    elif isinstance(value, list | tuple):
        digest.update(f"{type(value).__name__} {len(value)} ".encode())
        for inner in value:
            _feed(digest, inner)
    elif value is None or isinstance(value, str | int | float):
        digest.update(f"{type(value).__name__} {json.dumps(value)} ".encode())
    else:
        raise TypeError(f"an artifact holds tensors and plain values, and no {type(value)}")
