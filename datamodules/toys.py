"""Points in the plane, on which one can see what a GAN does.

All are scaled to about [-1, 1]: the outermost mode lies 4 standard deviations inside.
"""

import math
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.fields import Label, Vector
from saddlepoint.datamodules.source import Source
from saddlepoint.randomness import keyed_generator
from saddlepoint.schema import Natural, NotNegative, NumItems, checked


class Points(DataModule):
    """A sample of points (2,).

    Args:
        num_items: how many points are drawn.
        std: standard deviation of the noise, before scaling.
        data_seed: which ones; part of the data set, not of the run.
        settings: of `DataModule`.
    """

    dataset_name: ClassVar[str]
    protocol = "points"
    extractor = "raw"

    @checked
    def __init__(
        self,
        *,
        num_items: NumItems = 100_000,
        std: NotNegative,
        data_seed: Natural = 0,
        **settings: Any,
    ) -> None:
        super().__init__(self.dataset_name, **settings)
        self.num_items = num_items
        self.std = std
        self.data_seed = data_seed

    @property
    @abstractmethod
    def extent(self) -> float:
        """Largest coordinate of the noiseless points, before scaling."""

    @property
    def scale(self) -> float:
        """Factor from the source's units to the points served."""
        return 1 / (self.extent + 4 * self.std)

    @property
    def mode_std(self) -> float:
        """Standard deviation of the noise in the points served."""
        return self.std * self.scale

    def _noisy(self, noiseless: Tensor, generator: torch.Generator) -> Vector:
        noise = self.std * torch.randn(noiseless.shape, generator=generator)
        return Vector((noiseless + noise) * self.scale)


class Gaussians(Points):
    """An equal mixture of Gaussians; the class of a point is its mode."""

    protocol = "modes"

    @abstractmethod
    def centres(self) -> Tensor:
        """Means of the modes (K, 2), before scaling."""

    @property
    def extent(self) -> float:
        """Largest coordinate of a mean."""
        return self.centres().abs().max().item()

    @property
    def mode_centres(self) -> Tensor:
        """Means of the modes in the points served, (K, 2)."""
        return self.centres() * self.scale

    def load(self) -> Source:
        """Draw the points."""
        generator = keyed_generator(self.name, self.data_seed)
        centres = self.centres()
        labels = torch.randint(len(centres), (self.num_items,), generator=generator)
        points = self._noisy(centres[labels], generator)
        return Source(image=points, label=Label(labels, tuple(map(str, range(len(centres))))))


class Gaussians8(Gaussians):
    """8 Gaussians on a ring of radius 2 (L. Metz et al., ICLR 2017)."""

    dataset_name: ClassVar[str] = "gaussians8"

    @checked
    def __init__(self, *, std: NotNegative = 0.02, **settings: Any) -> None:
        super().__init__(std=std, **settings)

    def centres(self) -> Tensor:
        """Means (8, 2), counter-clockwise from (2, 0)."""
        angles = torch.arange(8) * (2 * math.pi / 8)
        return 2 * torch.stack((angles.cos(), angles.sin()), dim=1)


class Gaussians25(Gaussians):
    """25 Gaussians on the grid {-4, -2, 0, 2, 4} x {-4, -2, 0, 2, 4} (Dist-GAN, ECCV 2018)."""

    dataset_name: ClassVar[str] = "gaussians25"

    @checked
    def __init__(self, *, std: NotNegative = 0.05, **settings: Any) -> None:
        super().__init__(std=std, **settings)

    def centres(self) -> Tensor:
        """Means (25, 2), row by row."""
        line = torch.arange(-4.0, 5.0, 2.0)
        return torch.cartesian_prod(line, line)


class SwissRoll(Points):
    """Points t (cos t, sin t) for t uniform in [1.5 pi, 4.5 pi], with noise; no modes."""

    dataset_name: ClassVar[str] = "swiss_roll"

    @checked
    def __init__(self, *, std: NotNegative = 0.25, **settings: Any) -> None:
        super().__init__(std=std, **settings)

    @property
    def extent(self) -> float:
        """Largest radius."""
        return 4.5 * math.pi

    def load(self) -> Source:
        """Draw the points."""
        generator = keyed_generator(self.name, self.data_seed)
        t = math.pi * (1.5 + 3 * torch.rand(self.num_items, generator=generator))
        roll = t[:, None] * torch.stack((t.cos(), t.sin()), dim=1)
        return Source(image=self._noisy(roll, generator))
