"""Decoded images, kept for the next run."""

import hashlib
import logging
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saddlepoint.atomic import UnwritableError, one_process_at_a_time, whole_file
from saddlepoint.datamodules.decode import decoder_versions
from saddlepoint.datamodules.digest import sha256_of, version_of_files
from saddlepoint.datamodules.encoded import EncodedImages
from saddlepoint.datamodules.fields import Image
from saddlepoint.datamodules.workers import stream

log = logging.getLogger(__name__)

IMAGES_PER_CHUNK = 64
#: Below this many images workers take longer to start than to decode them.
FEW_IMAGES = 4096


def decoded(source: EncodedImages, name: str, cache_dir: Path | None, num_workers: int) -> Image:
    """Decode all images of a set, or find them in the cache.

    A cache file is an ``.npy`` of all images (N, C, H, W) uint8 followed by its SHA-256, under a
    name made from the source files, the recipe and the decoder's version. It is renamed into place
    when complete and checked when read; one that is damaged is made anew. Without a directory that
    can be written, the images are decoded in every run.

    Raises:
        UserError: an image is missing, corrupt, or unlike the others.
    """
    if cache_dir is None:
        return Image(*_decode(source, name, num_workers))
    identity = (version_of_files(source.files()), source.recipe(), decoder_versions())
    key = hashlib.sha256(repr(identity).encode()).hexdigest()[:32]
    path = cache_dir / f"{name}-{key}.npy"
    with one_process_at_a_time(path.with_suffix(".lock")):
        kept = _read(path, (len(source), *source.shape))
        if kept is None:
            kept = _decode(source, name, num_workers)
            _write(path, *kept)
    return Image(*kept)


def _decode(source: EncodedImages, name: str, num_workers: int) -> tuple[Tensor, str]:
    log.info("Decoding the %d images of %s", len(source), name)
    source.verify()
    images = torch.empty(len(source), *source.shape, dtype=torch.uint8)
    chunks = images.split(IMAGES_PER_CHUNK)
    workers = num_workers if len(source) > FEW_IMAGES else 0
    for chunk, decoded_chunk in zip(
        chunks, stream(_Chunks(source), len(chunks), workers), strict=True
    ):
        chunk.copy_(decoded_chunk)
    return images, sha256_of(images)


class _Chunks:
    """Consecutive images, a chunk at a time."""

    def __init__(self, source: EncodedImages) -> None:
        self.source = source

    def __call__(self, k: int) -> Tensor:
        first = k * IMAGES_PER_CHUNK
        return self.source.read(
            torch.arange(first, min(first + IMAGES_PER_CHUNK, len(self.source)))
        )


def _read(path: Path, shape: tuple[int, ...]) -> tuple[Tensor, str] | None:
    try:
        # Copy on write: the pages belong to all processes of a machine, and nobody can change them.
        images = torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
        with path.open("rb") as file:
            file.seek(-32, os.SEEK_END)
            expected = file.read().hex()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, TypeError):
        expected = None
    if expected is not None and images.shape == shape and sha256_of(images) == expected:
        return images, expected
    log.warning("The cached images in %s are damaged and are made anew", path)
    return None


def _write(path: Path, images: Tensor, images_sha256: str) -> None:
    try:
        with whole_file(path) as file:
            np.save(file, images.numpy())
            file.write(bytes.fromhex(images_sha256))
    except UnwritableError as error:
        log.warning("Cannot keep the decoded images in %s (%s)", path.parent, error.cause)
