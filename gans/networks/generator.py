"""What every generator has."""

from torch import nn


class Generator(nn.Module):
    """Base class.

    Attributes:
        shape: of an image, (c, h, w), or (d,) of a point.
        latent_dim: d of the latents (n, d), of those that draw images from latents.
    """

    shape: tuple[int, ...]
    latent_dim: int
