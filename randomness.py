"""Randomness as a pure function of its key, never of history.

Whatever a run draws (latents, labels, augmentations, the order of the data) comes from a generator
made afresh from (seed, purpose, position). An interrupted run therefore needs no stored random
state to go on exactly as it would have.
"""

import hashlib

import torch
from torch import Tensor


def key_to_seed(*key: int | str) -> int:
    """Hash a key such as ``(seed, "latents", 7)`` to a 63-bit seed, the same on every machine."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def keyed_generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh generator on ``device`` whose stream depends on ``key`` alone."""
    return torch.Generator(device=device).manual_seed(key_to_seed(*key))


def seed_global_generators(seed: int, device: torch.device) -> None:
    """Seed torch's generators of the CPU and of ``device``, for what draws without a key.

    `torch.manual_seed` also records the call stack for every kind of device that is not in use,
    which takes as long as a forward pass of a small network.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


class Draws:
    """The random numbers of one update, drawn for the batch of all ranks and cut to this rank's.

    Every rank draws the same numbers for the whole batch and keeps its own rows, so that several
    processes together use exactly what one would have used. ``n`` is always this rank's share.
    """

    def __init__(
        self,
        *key: int | str,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.generator = keyed_generator(*key, device=device)
        self.rank, self.world_size = rank, world_size

    def normal(self, n: int, *shape: int) -> Tensor:
        """Standard normal numbers, shape (n, *shape)."""
        size = (n * self.world_size, *shape)
        return self._mine(torch.randn(size, generator=self.generator, device=self.device), n)

    def uniform(self, n: int, *shape: int) -> Tensor:
        """Numbers uniform in [0, 1), shape (n, *shape)."""
        size = (n * self.world_size, *shape)
        return self._mine(torch.rand(size, generator=self.generator, device=self.device), n)

    def integers(self, n: int, high: int) -> Tensor:
        """Integers uniform in 0 .. high - 1, shape (n,), int64."""
        size = (n * self.world_size,)
        numbers = torch.randint(high, size, generator=self.generator, device=self.device)
        return self._mine(numbers, n)

    def permutation(self, n: int) -> Tensor:
        """This rank's part (n,) of a permutation of the items of all ranks, int64."""
        size = n * self.world_size
        return self._mine(torch.randperm(size, generator=self.generator, device=self.device), n)

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self.generator.device

    def _mine(self, numbers: Tensor, n: int) -> Tensor:
        if self.world_size == 1:
            return numbers
        return numbers[self.rank * n : (self.rank + 1) * n]
