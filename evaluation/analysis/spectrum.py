"""The radial power spectrum: how much of an image lies at each spatial frequency.

One definition for the project:

* luminance y (Rec. ITU-R BT.601) of pixels in [-1, 1];
* F = fft2(y) / sqrt(h w), so that the mean of |F|^2 over frequencies is that of y^2 over pixels;
* ring r holds the frequencies (u, v), in cycles per image, with r <= sqrt(u^2 + v^2) < r + 1, from
  the mean (ring 0) to the corner, floor(sqrt(floor(h / 2)^2 + floor(w / 2)^2)). The frequencies of
  a side end at its Nyquist frequency, half its length; beyond lie diagonals alone;
* an image's power in a ring is the mean of |F|^2 there. Its logarithm is ln(power + 1e-8).

Frequency zero is the centre, so that images turned by 90 degrees or shifted in a circle have the
same spectrum. (R. Durall et al., "Watch your Up-Convolution", CVPR 2020, arXiv 2003.01826, have
centred it between pixels, and averaged logarithms; see also K. Chandrasegaran et al., CVPR 2021,
arXiv 2103.17195.)
"""

import functools

import torch
from torch import Tensor

from saddlepoint.datamodules.pixels import to_float
from saddlepoint.errors import UserError

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue
EPSILON = 1e-8


def luminance(images: Tensor) -> Tensor:
    """Luminance (n, h, w) of images (n, 1 or 3, h, w), in their own range.

    Raises:
        UserError: images of another form.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UserError(
            f"A spectrum needs grey or RGB images and got items of shape {tuple(images.shape[1:])}:"
            " choose data that are images."
        )
    if images.shape[1] == 1:
        return images[:, 0]
    return torch.einsum("nchw,c->nhw", images, images.new_tensor(LUMINANCE))


@functools.lru_cache(maxsize=16)
def rings(height: int, width: int) -> Tensor:
    """Ring (h, w) int64 of each frequency of ``fft2``."""
    rows = (torch.fft.fftfreq(height, dtype=torch.float64) * height).round()
    columns = (torch.fft.fftfreq(width, dtype=torch.float64) * width).round()
    # The root of a square number is exact, so that it is in its own ring.
    return (rows[:, None].square() + columns.square()).sqrt().floor().long()


def frequencies_in_rings(height: int, width: int) -> Tensor:
    """Number (rings,) int64 of frequencies in each ring."""
    return rings(height, width).flatten().bincount()


def radial_power(images: Tensor) -> Tensor:
    """Power (n, rings) of images (n, 1 or 3, h, w), float in [-1, 1]; differentiable.

    Raises:
        UserError: items that are no images.
    """
    grey = luminance(images.float())
    power = torch.fft.fft2(grey, norm="ortho").abs().square().flatten(1)
    ring = rings(*grey.shape[-2:]).flatten().to(images.device)
    counts = ring.bincount()
    sums = power.new_zeros(len(images), len(counts)).index_add(1, ring, power)
    return sums / counts


class RadialSpectrum:
    """Mean radial power over images and the spread of its logarithm, streamed in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.shape: tuple[int, int] | None = None  # height and width
        self._sums: Tensor | None = None  # (3, rings): power, its logarithm, the square of that

    def update(self, images: Tensor) -> None:
        """Add images (n, 1 or 3, h, w): uint8, or float in [-1, 1].

        Raises:
            UserError: items that are no images, or are of another size than those before.
        """
        shape = tuple(images.shape[-2:])
        if self.shape not in (None, shape):
            raise UserError(
                f"Images of {shape} and {self.shape} pixels have no common spectrum: give images of"
                " one size."
            )
        power = radial_power(to_float(images) if images.dtype == torch.uint8 else images)
        power = power.double()
        logs = (power + EPSILON).log()
        sums = torch.stack([power.sum(0), logs.sum(0), logs.square().sum(0)])
        self._sums = sums if self._sums is None else self._sums + sums
        self.count += len(images)
        self.shape = shape

    @property
    def mean(self) -> Tensor:
        """Mean power (rings,)."""
        return self._sums[0] / self.count

    @property
    def mean_log(self) -> Tensor:
        """Mean of the logarithms of the images' power (rings,)."""
        return self._sums[1] / self.count

    @property
    def std_log(self) -> Tensor:
        """Standard deviation over images of the logarithms of their power (rings,)."""
        variance = self._sums[2] / self.count - self.mean_log.square()
        return (variance.clamp(min=0) * self.count / max(self.count - 1, 1)).sqrt()
