"""Class ids or vectors from a file, one for each item; nothing in the file is run."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saddlepoint.datamodules.fields import Label, Vector
from saddlepoint.errors import UserError

#: Bytes of an annotation, unpacked: so much for each item, and this much besides.
BYTES_PER_ITEM, OTHER_BYTES = 2**15, 2**20


def check_annotation(path: Path) -> None:
    """Find out in a moment whether there is a file that may be read.

    Raises:
        UserError: there is none.
    """
    if path.suffix not in _READERS:
        raise UserError(f"{path} is no annotation: give a file ending in {', '.join(_READERS)}.")
    if not path.is_file():
        raise UserError(f"There is no file {path}: say datamodule.file=... (ids or vectors).")


def read_annotation(path: Path, count: int, names: Sequence[str] | None = None) -> Label | Vector:
    """Read class ids (N,) or vectors (N, d), whichever the file holds.

    Args:
        path: ``.npy``; ``.npz`` or ``.pt`` with one array or tensor; ``.csv`` without a header,
            where one column is ids and several are vectors.
        count: N that the data set has.
        names: of the classes; by default their ids, up to the largest.

    Raises:
        UserError: there is no such file, it cannot be read without running what is in it, or its
            content is no annotation of so many items.
    """
    check_annotation(path)
    most = OTHER_BYTES + BYTES_PER_ITEM * count
    _check_size(path, _unpacked_bytes(path), most)
    values = _read(path)
    _check_size(path, values.numel() * values.element_size(), most)  # a view may repeat its storage
    if values.ndim not in (1, 2) or values.shape[-1] == 0:
        raise UserError(
            f"{path} holds an array of shape {tuple(values.shape)}: give class ids (N,) or vectors"
            " (N, d)."
        )
    if len(values) != count:
        raise UserError(
            f"{path} has {len(values):,} rows and the data set {count:,} items: give one row for"
            " each item, in the order of the set."
        )
    if values.is_floating_point() and not values.isfinite().all():
        row = (~values.isfinite()).reshape(count, -1).any(dim=1).nonzero()[0].item()
        raise UserError(f"{path} holds NaN or infinity in row {row}: give numbers.")
    if values.ndim == 1:
        return _label(path, values, names)
    if names is not None:
        raise UserError(f"{path} holds vectors, which have no classes: leave out datamodule.names.")
    vectors = values.float()
    if not vectors.isfinite().all():
        raise UserError(f"{path} holds vectors beyond the range of float32: scale them.")
    return Vector(vectors)


def _unpacked_bytes(path: Path) -> int:
    """How much a file says that it holds, without reading it."""
    try:
        if path.suffix in (".npz", ".pt") and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as members:
                return sum(member.file_size for member in members.infolist())
        if path.suffix == ".npy":
            # Mapping compares the header with the size of the file.
            return np.load(path, mmap_mode="r", allow_pickle=False).nbytes
        return path.stat().st_size
    except Exception as error:  # readers of foreign files raise whatever their parsers do
        raise _unreadable(path, error) from error


def _check_size(path: Path, size: int, most: int) -> None:
    if size > most:
        raise UserError(
            f"{path} holds {size:,} bytes, more than the {most:,} that are read for this data set:"
            f" give one row of at most {BYTES_PER_ITEM:,} bytes for each item."
        )


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"{path} holds no array of numbers ({reason}).")


def _label(path: Path, values: Tensor, names: Sequence[str] | None) -> Label:
    if values.is_floating_point() and not (values == values.round()).all():
        raise UserError(f"{path} holds ids that are no whole numbers: vectors need 2 dimensions.")
    largest, smallest = values.max().item(), values.min().item()
    if smallest < 0:
        raise UserError(f"{path} holds the id {smallest:g}: classes count from 0.")
    most = len(values) if names is None else len(names)
    if largest >= most:
        bound = "there are items" if names is None else "datamodule.names has names"
        raise UserError(f"{path} holds the id {largest:g}, which makes more classes than {bound}.")
    names = list(map(str, range(int(largest) + 1))) if names is None else names
    return Label(values.long(), names)


def _read(path: Path) -> Tensor:
    try:
        values = _READERS[path.suffix](path)
        # Kinds that torch has not: text, objects, dates.
        values = torch.as_tensor(values)
    except Exception as error:  # readers of foreign files raise whatever their parsers do
        raise _unreadable(path, error) from error
    if values.is_complex():
        raise UserError(f"{path} holds complex numbers: give real ones.")
    return values


def _npy(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)


def _npz(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        return _only(dict(arrays))


def _csv(path: Path) -> np.ndarray:
    rows = np.loadtxt(path, delimiter=",", ndmin=2, dtype=np.float64)
    return rows[:, 0] if rows.shape[1] == 1 else rows


def _pt(path: Path) -> Tensor:
    content = torch.load(path, map_location="cpu", weights_only=True)
    return _only(content) if isinstance(content, dict) else content


def _only(arrays: dict) -> np.ndarray | Tensor:
    if len(arrays) != 1:
        raise ValueError(f"there are {len(arrays)} arrays, {', '.join(map(str, arrays))}: keep one")
    return next(iter(arrays.values()))


_READERS = {".npy": _npy, ".npz": _npz, ".csv": _csv, ".pt": _pt}
