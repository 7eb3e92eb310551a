"""A round trip through JPEG, which some published protocols make when they write images down."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def jpeg_round_trip(images: Tensor, quality: int) -> Tensor:
    """Encode and decode images as Pillow does, chroma at half the resolution.

    Args:
        images: (N, 1 or 3, H, W) uint8.
        quality: of the encoder, 1 to 95; its default is 75.
    """
    decoded = []
    for image in images.permute(0, 2, 3, 1).cpu().numpy():
        file = io.BytesIO()
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
            file, "JPEG", quality=quality
        )
        decoded.append(np.atleast_3d(np.asarray(Image.open(file))))
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).contiguous().to(images.device)
