"""The perceptual distance of outputs and what they are compared with.

R. Zhang, P. Isola, A. A. Efros, E. Shechtman, O. Wang, "The Unreasonable Effectiveness of Deep
Features as a Perceptual Metric", CVPR 2018, arXiv 1801.03924.
"""

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from torchvision import models

from saddlepoint.datamodules.pixels import to_float
from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.pairs import Comparison, as_bytes
from saddlepoint.extractors.extractor import as_rgb, full_precision
from saddlepoint.items import Items
from saddlepoint.records.record import SMALLER
from saddlepoint.schema import checked

WEIGHTS = {"alex": models.AlexNet_Weights, "vgg": models.VGG16_Weights}


class LPIPS(Comparison):
    """LPIPS of 8-bit images, torchmetrics', the mean over pairs.

    Its trunk is torchvision's, trained on ImageNet, which has to be in torch's cache beforehand:
    nothing is downloaded in the middle of a job. Inside the mask, pixels outside are those of the
    reference on both sides.

    Args:
        net: "alex" or "vgg".
        region: "image" or "inside" the mask; the score's name says which.
        reference: field of the inputs that outputs are compared with; "truth" is that of an edit.
    """

    name: ClassVar[str] = "lpips"
    better = SMALLER
    smallest = 32  # what is smaller vanishes on its way through the network

    @checked
    def __init__(
        self,
        net: Literal["alex", "vgg"] = "alex",
        region: Literal["image", "inside"] = "image",
        reference: str = "image",
    ) -> None:
        self.net, self.measure = net, f"LPIPS-{net}"
        super().__init__(region, reference)

    def check(self, data: Any, num_fake: int) -> None:
        """Images have to be large enough, and the weights at hand."""
        super().check(data, num_fake)
        url = WEIGHTS[self.net].IMAGENET1K_V1.url
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        if not (folder / url.rpartition("/")[2]).is_file():
            raise UserError(f"{self.name} needs {url} in {folder}: put it there, or leave it out.")

    def prepare(self, data: Any, device: torch.device) -> None:
        """Load the network; draws no random numbers."""
        with torch.random.fork_rng():
            self._network = LearnedPerceptualImagePatchSimilarity(self.net).net.to(device)

    def values(self, output: Tensor, inputs: Items) -> dict[str, Tensor]:
        """LPIPS of each pair."""
        reference, output = (as_bytes(each) for each in (inputs[self.reference], output))
        if self.region == "inside":
            output = torch.where(inputs.mask >= 0.5, output, reference)
        with full_precision(output.device):
            found = self._network(*(to_float(as_rgb(each)) for each in (output, reference)))
        return {self.value: found.flatten()}
