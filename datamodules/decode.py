"""From an encoded image to pixels: modes, crop and resize, through Pillow."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, features

from saddlepoint.datamodules.window import Window
from saddlepoint.errors import UserError

GREY_MODES = ("1", "L", "LA")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
#: What is read, by content; Pillow knows others, some of which start programs.
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
#: Pixels of one image before crop and resize; more are refused before any is decoded.
MOST_PIXELS = 2**26
FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


@dataclass(frozen=True)
class Decoder:
    """How images are brought to one form.

    Transparent images are laid on white; the orientation noted by a camera is applied.

    Attributes:
        resolution: height and width in pixels; None keeps those of the file.
        channels: 1 (grey) or 3 (RGB); None keeps those of the file.
        crop: side in pixels of the square cut from the centre first, filled up with black where
            the image is smaller (as torchvision's CenterCrop does); None cuts the largest square
            if there is a resolution, nothing otherwise.
        filter: "bilinear" (the published settings) or "lanczos", which both antialias; "nearest"
            for masks.
    """

    resolution: int | None = None
    channels: int | None = None
    crop: int | None = None
    filter: str = "lanczos"

    def __call__(self, encoded: bytes, name: str) -> np.ndarray:
        """Decode the file ``name`` to (C, H, W) uint8.

        Raises:
            UserError: the bytes are no readable image, have no 8-bit form or too many pixels.
        """
        try:
            with warnings.catch_warnings():
                # The limit is ours, and lower.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(io.BytesIO(encoded), formats=FORMATS)
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise UserError(
                    f"{name} has {width:,} x {height:,} pixels, and at most {MOST_PIXELS:,} are"
                    " decoded: make it smaller or leave it out"
                )
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
        except UserError:
            raise
        except Exception as error:  # Pillow's readers raise whatever their parsers do
            raise UserError(
                f"{name} is corrupt or no image ({error or type(error).__name__}): "
                "replace it or leave it out (your own images: datamodule.exclude)"
            ) from error
        return self.convert(image, name)

    def convert(self, image: Image.Image, name: str) -> np.ndarray:
        """Bring an opened image to (C, H, W) uint8."""
        image = self._to_mode(image, name)
        pixels = np.asarray(self.window(image.size).cut(image, FILTERS[self.filter]))
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    def window(self, size: tuple[int, int]) -> Window:
        """Which part of an image of ``size`` (width, height) is served; its points go along."""
        side = self.crop or (min(size) if self.resolution else None)
        if side is None:
            return Window(0, 0, *size, size)
        return Window.central(size, side, self.resolution)

    def _to_mode(self, image: Image.Image, name: str) -> Image.Image:
        if image.mode not in GREY_MODES + COLOUR_MODES:
            raise UserError(
                f"{name} has pixels of mode {image.mode}, which have no 8-bit form: "
                "convert the images to 8 bits per channel"
            )
        channels = self.channels or (1 if image.mode in GREY_MODES else 3)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        mode = "L" if channels == 1 else "RGB"
        return image if image.mode == mode else image.convert(mode)


def decoder_versions() -> str:
    """The libraries whose versions may change a decoded pixel."""
    return f"pillow {features.version('pil')}, libjpeg {features.version('libjpeg_turbo')}"
