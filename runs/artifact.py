"""What a stage leaves behind: a file made once, found again, and checked when it is read."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from saddlepoint.atomic import whole_file
from saddlepoint.runs.content_hash import sha256_of

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
