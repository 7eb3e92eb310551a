"""Colours of some images put on another: the trivial way to translate to a class of colours.

E. Reinhard, M. Ashikhmin, B. Gooch, P. Shirley. "Color Transfer between Images", IEEE Computer
Graphics and Applications, 2001; in CIE L*a*b* here, with the white of D65.
"""

import torch
from torch import Tensor

#: From linear sRGB to XYZ over the white of D65; rows sum up to 1, so that grey has no colour.
RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
DELTA = 6 / 29  # where the cube root of Lab becomes a line
SMALLEST = 1e-3  # spread that is divided by


def transferred(
    image: Tensor,
    examples: Tensor,
    inside: Tensor | None = None,
    of_examples: Tensor | None = None,
) -> Tensor:
    """Give images the mean and the spread that their examples have in each channel of Lab.

    Args:
        image: (n, 3, h, w) in [-1, 1].
        examples: (n, K, 3, h, w).
        inside: (n, 1, h, w), 1 where colours are exchanged, the hair say; None: everywhere.
        of_examples: the same of the examples, (n, K, 1, h, w).
    """
    own = to_lab(image)
    theirs = to_lab(examples.flatten(0, 1)).unflatten(0, examples.shape[:2])
    n, shots = examples.shape[:2]
    inside = torch.ones_like(image[:, :1]) if inside is None else inside
    of_examples = torch.ones_like(theirs[:, :, :1]) if of_examples is None else of_examples
    mean, spread = _statistics(own.flatten(2), inside.flatten(2).double())
    # All pixels of all K examples together.
    pixels = theirs.transpose(1, 2).reshape(n, 3, -1)
    wanted = _statistics(pixels, of_examples.transpose(1, 2).reshape(n, 1, -1).double())
    scaled = (own - mean[..., None, None]) / spread[..., None, None].clamp(min=SMALLEST)
    exchanged = from_lab(scaled * wanted[1][..., None, None] + wanted[0][..., None, None]).to(image)
    known = (of_examples.flatten(1).sum(1) > 0).view(-1, 1, 1, 1)  # an example without any hair
    return torch.where((inside > 0.5) & known, exchanged, image)


def to_lab(images: Tensor) -> Tensor:
    """L*, a*, b* (n, 3, h, w), float64, of sRGB in [-1, 1]; L* is 0 to 100."""
    values = ((images.double() + 1) / 2).clamp(0, 1)
    linear = torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    ratio = torch.einsum("ij,njhw->nihw", _matrix(images), linear)
    root = torch.where(
        ratio > DELTA**3, ratio.clamp(min=0) ** (1 / 3), ratio / (3 * DELTA**2) + 4 / 29
    )
    x, y, z = root.unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)


def from_lab(lab: Tensor) -> Tensor:
    """SRGB in [-1, 1] of L*, a*, b* (n, 3, h, w); what no screen shows is cut off."""
    lightness, a, b = lab.double().unbind(1)
    y = (lightness + 16) / 116
    root = torch.stack((y + a / 500, y, y - b / 200), dim=1)
    ratio = torch.where(root > DELTA, root**3, 3 * DELTA**2 * (root - 4 / 29))
    linear = torch.einsum("ij,njhw->nihw", torch.linalg.inv(_matrix(lab)), ratio).clamp(0, 1)
    values = torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return values * 2 - 1


def _matrix(like: Tensor) -> Tensor:
    matrix = torch.tensor(RGB_TO_XYZ, dtype=torch.float64, device=like.device)
    return matrix / matrix.sum(1, keepdim=True)


def _statistics(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (n, 3) of values (n, 3, m) by weights (n, 1, m)."""
    total = weights.sum(2).clamp(min=1)
    mean = (values * weights).sum(2) / total
    variance = ((values - mean[..., None]).square() * weights).sum(2) / total
    return mean, variance.sqrt()
