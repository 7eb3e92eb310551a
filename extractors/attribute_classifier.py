"""A small network that tells hair colour and attributes of the drawn faces.

Its features are the space of the embedded set's Frechet distance, as Inception's are of FID. Its
weights come with the project and stay as they are, since scores compare by their hash.

They were trained on all faces but 1,024 (``attribute_classifier.json`` has the accuracy on those):
16 epochs of batches of 128, each batch rolled by up to 2 pixels, on the sum of the cross-entropies
of hair colour and attributes, by AdamW (weight decay 0.01) under a one-cycle schedule up to 3e-3,
seed 0, in bfloat16; then stored in float16. The program is ``train_extractor.py`` of commit
f336edb; today's trains `extractors.small_resnet` on any labelled data, the drawn faces among them.
"""

import hashlib
import pickle
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.errors import UserError

WEIGHTS = Path(__file__).parent / "assets" / "attribute_classifier.pt"
SHA256 = WEIGHTS.with_suffix(".sha256")


class AttributeClassifier(nn.Module):
    """Four convolutions with batch norm down to 4 x 4, a hidden layer, one output for each task.

    Args:
        num_classes: classes, told by softmax.
        num_attributes: binary attributes, told by sigmoids.
        width: channels of the first convolution; the features have 4 times as many.
    """

    def __init__(self, num_classes: int = 6, num_attributes: int = 6, width: int = 24) -> None:
        super().__init__()
        channels = (3, width, 2 * width, 2 * width, 2 * width)
        strides = (1, 2, 2, 2)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], 3, strides[i], padding=1, bias=False)
            for i in range(4)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels[1:])
        self.hidden = nn.Linear(channels[-1] * 16, 4 * width)
        self.classes = nn.Linear(4 * width, num_classes)
        self.attributes = nn.Linear(4 * width, num_attributes)

    def forward(self, images: Tensor) -> Tensor:
        """Extracted (n, 4 width), float32 and non-negative, of images (n, 3, 32, 32) in [-1, 1]."""
        hidden = images
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            hidden = F.relu(norm(convolution(hidden)))
        return F.relu(self.hidden(hidden.flatten(1)))

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of classes (n, num_classes) and of attributes (n, num_attributes)."""
        features = self(images)
        return self.classes(features), self.attributes(features)


def load_attribute_classifier() -> AttributeClassifier:
    """The network with its trained weights, in eval mode.

    Raises:
        UserError: the file is missing, or is not the one that was shipped.
    """
    try:
        weights = WEIGHTS.read_bytes()
        if hashlib.sha256(weights).hexdigest() != SHA256.read_text().strip():
            raise ValueError("another file")
        state = torch.load(WEIGHTS, map_location="cpu", weights_only=True)
    except (OSError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(
            f"The weights of the attribute classifier ({WEIGHTS}) are missing or damaged: install"
            " Saddlepoint again."
        ) from error
    network = AttributeClassifier()
    network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return network.eval()
