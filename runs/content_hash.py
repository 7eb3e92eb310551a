"""A hash of what a file holds, so that no flipped bit is taken for a weight."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch


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
        raise TypeError(f"a file holds tensors and plain values, and no {type(value)}")


def tensors_in(content: Any) -> Iterator[torch.Tensor]:
    """All tensors in nested dicts and lists."""
    if isinstance(content, torch.Tensor):
        yield content
    elif isinstance(content, dict | list | tuple):
        for value in content.values() if isinstance(content, dict) else content:
            yield from tensors_in(value)
