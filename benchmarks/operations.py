"""Device operations and memory of a piece of training, exact and the same on every machine."""

from collections import Counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

#: Operations that launch nothing on a device, beside views: they allocate, or look at metadata.
FREE = {
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
    *("alias", "detach", "is_same_size", "lift_fresh", "_unsafe_view", "_reshape_alias"),
}


class Operations(TorchDispatchMode):
    """Counts the operations that reach a device while it is active.

    An operation is a call of torch's dispatcher below autograd, so that those of a backward pass
    count, too. Views and what only allocates or reads metadata do not. A call over lists
    (`torch._foreach_*`, `torch._fused_*`) is one if a device can do it as one: where the lists hold
    tensors of unequal shapes at one position, torch does it one by one, and each counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_name: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple = (), options: dict | None = None
    ) -> Any:
        """Count the call, and make it."""
        namespace, name, *_ = str(function).split(".")
        if namespace == "aten" and not function.is_view and name not in FREE:
            self.by_name[name] += _launches(name, arguments)
        return function(*arguments, **(options or {}))

    @property
    def total(self) -> int:
        """All operations so far."""
        return self.by_name.total()


def _launches(name: str, arguments: tuple) -> int:
    if not name.startswith("_foreach"):
        return 1
    lists = [a for a in arguments if isinstance(a, (list, tuple)) and torch.is_tensor(a[0])]
    fits = all(
        len({tensor.shape for tensor in tensors}) == 1 for tensors in zip(*lists, strict=True)
    )
    return 1 if fits else len(lists[0])


class Allocations:
    """Follows the memory of tensors while it is active, as torch's allocators report it.

    Attributes:
        peak: most bytes in use at a time, above those at the start.
    """

    def __enter__(self) -> "Allocations":
        """Begin."""
        activities = [ProfilerActivity.CPU]
        activities += [ProfilerActivity.CUDA] * torch.cuda.is_available()
        self._profile = profile(activities=activities, profile_memory=True).__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """End, and add up."""
        self._profile.__exit__(*error)
        events = self._profile.profiler.kineto_results.events()
        changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
        now = self.peak = 0
        for _, change in changes:
            now += change
            self.peak = max(self.peak, now)
