"""Which resolutions a network draws."""

from collections.abc import Collection, Sequence

from saddlepoint.errors import UserError


def check_resolution(network: str, shape: Sequence[int], resolutions: Collection[int]) -> int:
    """Return the side of square images of ``shape`` (c, h, h).

    Raises:
        UserError: the shape is none that the network draws; names the resolutions it does.
    """
    shape = tuple(shape)
    if len(shape) == 3 and shape[1] == shape[2] and shape[1] in resolutions:
        return shape[1]
    known = ", ".join(str(resolution) for resolution in resolutions)
    described = "points" if len(shape) == 1 else f"images of shape {shape}"
    raise UserError(
        f"network={network} works on square images of {known} px, and the data are {described}:"
        " choose another network (mlp for points) or another size of the data."
    )
