"""Points of known density, on the line and in the plane: what a GAN makes of them can be told.

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
    """A sample of points (d,): noiseless ones, and Gaussian noise on each coordinate.

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

    @abstractmethod
    def noiseless(self) -> Tensor:
        """Points (K, d), before scaling, whose mean of Gaussians is the density."""

    @property
    def scale(self) -> float:
        """Factor from the source's units to the points served."""
        return 1 / (self.extent + 4 * self.std)

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise in the points served."""
        return self.std * self.scale

    def density(self, points: Tensor) -> Tensor:
        """True density (n,) at points (n, d) in the units served."""
        centres, std = self.noiseless() * self.scale, self.noise_std
        squares = ((part[:, None] - centres).square().sum(2) for part in points.split(256))
        means = [(each / (-2 * std**2)).exp().mean(1) for each in squares]
        return torch.cat(means) / (std * math.sqrt(2 * math.pi)) ** points.shape[1]

    def _noisy(self, noiseless: Tensor, generator: torch.Generator) -> Vector:
        noise = self.std * torch.randn(noiseless.shape, generator=generator)
        return Vector((noiseless + noise) * self.scale)


class Gaussians(Points):
    """An equal mixture of Gaussians; the class of a point is its mode."""

    protocol = "modes"

    @abstractmethod
    def centres(self) -> Tensor:
        """Means of the modes (K, d), before scaling."""

    def noiseless(self) -> Tensor:
        """The means."""
        return self.centres()

    @property
    def extent(self) -> float:
        """Largest coordinate of a mean."""
        return self.centres().abs().max().item()

    @property
    def mode_centres(self) -> Tensor:
        """Means of the modes in the points served, (K, d)."""
        return self.centres() * self.scale

    @property
    def mode_std(self) -> float:
        """Standard deviation of a mode in the points served."""
        return self.noise_std

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


class Gaussians1D(Gaussians):
    """5 Gaussians on the line, some nearer to each other than others."""

    dataset_name: ClassVar[str] = "gaussians_1d"

    @checked
    def __init__(self, *, std: NotNegative = 0.3, **settings: Any) -> None:
        super().__init__(std=std, **settings)

    def centres(self) -> Tensor:
        """Means (5, 1), from left to right."""
        return torch.tensor([-4.0, -2.0, 0.0, 1.5, 4.0])[:, None]

    def cdf(self, points: Tensor) -> Tensor:
        """True distribution function (n,), float64, at points (n,) in the units served."""
        centres = self.mode_centres.double().flatten()
        return torch.special.ndtr((points.double()[:, None] - centres) / self.mode_std).mean(1)


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

    def noiseless(self) -> Tensor:
        """1,000 points along the roll, so close that their noise is the density of all."""
        return _rolled((torch.arange(1000) + 0.5) / 1000)

    @property
    def curve(self) -> Tensor:
        """The same in the units served, (1000, 2), with equal shares of the data between them."""
        return self.noiseless() * self.scale

    def load(self) -> Source:
        """Draw the points."""
        generator = keyed_generator(self.name, self.data_seed)
        roll = _rolled(torch.rand(self.num_items, generator=generator))
        return Source(image=self._noisy(roll, generator))


def _rolled(shares: Tensor) -> Tensor:
    """Points (n, 2) of the roll that have these shares (n,) of it before them."""
    t = math.pi * (1.5 + 3 * shares)
    return t[:, None] * torch.stack((t.cos(), t.sin()), dim=1)
