"""Device operations and memory of a piece of training, exact and the same on every machine."""

import weakref
from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: Operations that launch nothing on a device, beside views: they allocate, or look at metadata.
FREE = {
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
    *("alias", "detach", "is_same_size", "lift_fresh", "_unsafe_view", "_reshape_alias"),
}


class Operations(TorchDispatchMode):
    """Counts the operations that reach a device while it is active, and what their results hold.

    An operation is a call of torch's dispatcher below autograd, so that those of a backward pass
    count, too. Views and what only allocates or reads metadata do not. A call over lists
    (`torch._foreach_*`, `torch._fused_*`) is one if a device can do it as one: where the lists hold
    tensors of unequal shapes at one position, torch does it one by one, and each counts.

    Attributes:
        by_name: how many of each operation there were.
        peak: most bytes that tensors made while it is active held at a time; what an operation
            needs within itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_name: Counter[str] = Counter()
        self.peak = 0
        self._held: dict[int, int] = {}  # bytes of each storage that lives
        self._now = 0

    @property
    def total(self) -> int:
        """All operations so far."""
        return self.by_name.total()

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple = (), options: dict | None = None
    ) -> Any:
        """Make the call, count it, and follow the memory of what it returns."""
        options = options or {}
        namespace, name, *_ = str(function).split(".")
        if namespace == "aten" and not function.is_view and name not in FREE:
            self.by_name[name] += _launches(name, arguments)
        results = function(*arguments, **options)
        given = {storage._cdata for storage in _storages((arguments, options))}
        for storage in _storages(results):
            if storage._cdata not in given and storage._cdata not in self._held:
                self._hold(storage)
        return results

    def _hold(self, storage: torch.UntypedStorage) -> None:
        self._held[storage._cdata] = storage.nbytes()
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._free, storage._cdata)

    def _free(self, key: int) -> None:
        self._now -= self._held.pop(key)


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if torch.is_tensor(leaf)]


def _launches(name: str, arguments: tuple) -> int:
    if not name.startswith("_foreach"):
        return 1
    lists = [a for a in arguments if isinstance(a, (list, tuple)) and torch.is_tensor(a[0])]
    fits = all(
        len({tensor.shape for tensor in tensors}) == 1 for tensors in zip(*lists, strict=True)
    )
    return 1 if fits else len(lists[0])
