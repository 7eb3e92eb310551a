"""Random views of images: torchvision's transforms, a pure function of (seed, epoch, item)."""

from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor
from torchvision.transforms import v2

from saddlepoint.datamodules.pixels import to_float
from saddlepoint.randomness import key_to_seed
from saddlepoint.schema import NotNegative, Share, checked


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
        transform = self._transform(images.shape[-2:])
        views = []
        # torchvision draws from the global generator: it is seeded for each item and put back.
        with torch.random.fork_rng(devices=[]):
            for image, item in zip(images, items.tolist(), strict=True):
                torch.default_generator.manual_seed(key_to_seed(*key, item))
                views.append(transform(image))
        return to_float(torch.stack(views))

    def _transform(self, size: torch.Size) -> v2.Transform:
        colours = v2.ColorJitter(self.brightness, self.contrast, self.saturation, self.hue)
        return v2.Compose(
            [
                v2.RandomResizedCrop(size, scale=(self.crop, 1.0), antialias=True),
                v2.RandomHorizontalFlip(self.flip),
                v2.RandomApply([colours], self.jitter),
                v2.RandomGrayscale(self.grey),
            ]
        )
