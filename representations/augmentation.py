"""Random views of images, a pure function of (seed, epoch, item), made for a whole batch at once.

What is done to an image is what torchvision's RandomResizedCrop, RandomHorizontalFlip, ColorJitter
and RandomGrayscale do, in this order; colours change in the order of `Augmentation`'s arguments,
where torchvision draws an order. Their classes take one image at a time, and numbers that have no
key.
"""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Gt, Le
from torch import Tensor
from torchvision.transforms.v2.functional import rgb_to_grayscale

from saddlepoint.randomness import keyed_generator
from saddlepoint.schema import NotNegative, Share, checked

RATIO = 4 / 3  # of a crop's sides, at most
#: Random numbers of a view.
DRAWN = 11


class Augmentation:
    """Crop and resize, mirror, change colours, turn grey: in this order, each with its chance.

    Args:
        crop: smallest share of the area that a crop keeps.
        flip: share of views that are mirrored.
        brightness: largest relative change.
        contrast: the same of the contrast.
        saturation: the same of the saturation.
        hue: largest change of the hue, in turns of the colour circle; at most 0.5.
        jitter: share of views whose colours change.
        grey: share of views without colours.
    """

    @checked
    def __init__(
        self,
        *,
        crop: Annotated[float, Gt(0), Le(1)] = 0.2,
        flip: Share = 0.5,
        brightness: NotNegative = 0.4,
        contrast: NotNegative = 0.4,
        saturation: NotNegative = 0.4,
        hue: Share = 0.1,
        jitter: Share = 0.8,
        grey: Share = 0.2,
    ) -> None:
        self.crop, self.flip, self.jitter, self.grey = crop, flip, jitter, grey
        self.brightness, self.contrast = brightness, contrast
        self.saturation, self.hue = saturation, hue

    def views(self, images: Tensor, items: Tensor, *key: int | str) -> Tensor:
        """One view of each image.

        Args:
            images: (n, C, H, W) uint8.
            items: (n,) which items they are; a view depends on its item and the key alone.
            key: seed, epoch, and which of several views.

        Returns:
            (n, C, H, W) float32 in [-1, 1].
        """
        numbers = _numbers(items, *key).to(images.device)
        area, ratio, top, left, flipped, *colours = numbers.unbind(1)
        boxes = self._boxes(area, ratio, top, left, *images.shape[-2:])
        views = cropped(images.float() / 255, boxes)
        views = torch.where((flipped < self.flip)[:, None, None, None], views.flip(-1), views)
        if images.shape[1] == 3:
            views = self._coloured(views, *colours)
        return views * 2 - 1

    def _boxes(
        self, area: Tensor, ratio: Tensor, top: Tensor, left: Tensor, height: int, width: int
    ) -> Tensor:
        """Crops (n, 4): x and y of the first and behind the last pixel."""
        area = (self.crop + (1 - self.crop) * area) * height * width
        ratio = torch.exp((2 * ratio - 1) * math.log(RATIO))  # of width to height
        across = (area * ratio).sqrt().round().clamp(1, width)
        down = (area / ratio).sqrt().round().clamp(1, height)
        x = (left * (width - across + 1)).floor()
        y = (top * (height - down + 1)).floor()
        return torch.stack([x, y, x + across, y + down], dim=1)

    def _coloured(
        self,
        views: Tensor,
        chosen: Tensor,
        brightness: Tensor,
        contrast: Tensor,
        saturation: Tensor,
        hue: Tensor,
        grey: Tensor,
    ) -> Tensor:
        def factor(number: Tensor, most: float) -> Tensor:
            low = max(0.0, 1 - most)
            return (low + (1 + most - low) * number)[:, None, None, None]

        changed = (views * factor(brightness, self.brightness)).clamp(0, 1)
        level = rgb_to_grayscale(changed).mean((1, 2, 3), keepdim=True)
        changed = blended(changed, level, factor(contrast, self.contrast))
        changed = blended(changed, rgb_to_grayscale(changed), factor(saturation, self.saturation))
        if self.hue:
            changed = hue_shifted(changed, (2 * hue - 1) * self.hue)
        views = torch.where((chosen < self.jitter)[:, None, None, None], changed, views)
        without = rgb_to_grayscale(views, num_output_channels=3)
        return torch.where((grey < self.grey)[:, None, None, None], without, views)


def cropped(images: Tensor, boxes: Tensor) -> Tensor:
    """Cut a box (x, y, x, y) of whole pixels out of each image and enlarge it to the image's size.

    Bilinearly, each crop's border being repeated; what is enlarged needs no antialiasing.
    """
    height, width = images.shape[-2:]
    left, top, right, bottom = boxes[:, :, None].unbind(1)
    x = (torch.arange(width, device=images.device) + 0.5) * (right - left) / width - 0.5 + left
    y = (torch.arange(height, device=images.device) + 0.5) * (bottom - top) / height - 0.5 + top
    x, y = torch.clamp(x, left, right - 1), torch.clamp(y, top, bottom - 1)
    # Where a pixel's middle lies if the whole image reaches from -1 to 1.
    x, y = (2 * x + 1) / width - 1, (2 * y + 1) / height - 1
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=-1)
    return F.grid_sample(images, grid, align_corners=False)


def blended(images: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Images by their share, the rest from another; a share above 1 leads away from it."""
    return (share * images + (1 - share) * other).clamp(0, 1)


def hue_shifted(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hues of images (n, 3, H, W) in [0, 1] by ``turns`` (n,) of the colour circle."""
    red, green, blue = images.unbind(1)
    value, low = images.amax(1), images.amin(1)
    chroma = value - low
    safe = torch.where(chroma > 0, chroma, 1)
    # In sixths of the circle, from the colour that is largest.
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = hue + 6 * turns[:, None, None]
    channels = []
    for offset in (5, 3, 1):
        k = (offset + hue) % 6
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, dim=1)


def _numbers(items: Tensor, *key: int | str) -> Tensor:
    """Uniform numbers (n, DRAWN), a row of its own for every item there could be.

    Items are drawn for in blocks, so that none depends on how many there are.
    """
    block = 1024
    rows = torch.empty(len(items), DRAWN)
    for number in (items // block).unique().tolist():
        table = torch.rand(block, DRAWN, generator=keyed_generator("view", *key, number))
        own = items // block == number
        rows[own] = table[items[own] % block]
    return rows
