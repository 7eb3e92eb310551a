"""Which part of an image is served, and at what size: for the image and for what lies in it."""

from dataclasses import dataclass

from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A rectangle of an image, resized.

    A point (x, y) counts pixels from the top left; the centre of a pixel has whole coordinates.

    Attributes:
        left: first column of the rectangle; below 0 where it reaches out of the image.
        top: first row.
        width: columns.
        height: rows.
        size: (width, height) that it is resized to.
    """

    left: int
    top: int
    width: int
    height: int
    size: tuple[int, int]

    @classmethod
    def central(cls, size: tuple[int, int], side: int, resolution: int | None = None) -> "Window":
        """The square of ``side`` pixels at the centre of an image of ``size`` (width, height).

        Rounds an odd margin as torchvision's CenterCrop does, so that published sets have their
        pixels.
        """
        left, top = (round((n - side) / 2) if n >= side else -((side - n) // 2) for n in size)
        return cls(left, top, side, side, 2 * (resolution or side,))

    def cut(self, image: Image.Image, resample: Image.Resampling) -> Image.Image:
        """Show this part of an image; black where the image does not reach."""
        box = (self.left, self.top, self.left + self.width, self.top + self.height)
        if box != (0, 0, *image.size):
            image = image.crop(box)
        return image if image.size == self.size else image.resize(self.size, resample)

    def place(self, points: Tensor) -> Tensor:
        """Where points (..., 2) of the image lie in what is shown of it."""
        corner, size, shown = (
            points.new_tensor(pair)
            for pair in ((self.left, self.top), (self.width, self.height), self.size)
        )
        return (points - corner + 0.5) * shown / size - 0.5
