"""Statistics of real images on disk, for the next run.

A file is a SHA-256 followed by what it is the SHA-256 of. It is written under another name and
renamed, so that processes never see half of one; one that is damaged, or not what its name says, is
passed over.
"""

import hashlib
import io
import logging
import re
from pathlib import Path

import torch
from torch import Tensor

from saddlepoint.atomic import UnwritableError, whole_file

log = logging.getLogger(__name__)

SHA256_BYTES = 32


def path_of(folder: Path, dataset: str, fingerprint: str) -> Path:
    """File of the statistics under one fingerprint; the data's name is there for people."""
    readable = re.sub(r"[^\w.-]", "_", dataset)
    return folder / f"{readable}-{fingerprint}.statistics"


def read(path: Path, fingerprint: str) -> dict[str, Tensor] | None:
    """A collector's state as `write` left it; None if it is not there or damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("Cannot read %s (%s)", path, error.strerror)
        return None
    digest, payload = content[:SHA256_BYTES], content[SHA256_BYTES:]
    if digest == hashlib.sha256(payload).digest():
        try:
            stored = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
            if stored["fingerprint"] == fingerprint:
                return stored["state"]
        except Exception as error:  # whole, and of another program
            log.debug("%s: %s", path, error)
    log.warning("The cached statistics in %s are damaged and are computed anew", path)
    return None


def write(path: Path, fingerprint: str, state: dict[str, Tensor]) -> None:
    """Keep a collector's state; where that is impossible the next run computes them again."""
    payload = io.BytesIO()
    torch.save({"fingerprint": fingerprint, "state": state}, payload)
    try:
        with whole_file(path) as file:
            file.write(hashlib.sha256(payload.getbuffer()).digest())
            file.write(payload.getbuffer())
    except UnwritableError as error:
        log.warning("Cannot keep the statistics in %s (%s)", path.parent, error.cause)
