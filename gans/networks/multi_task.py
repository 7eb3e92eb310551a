"""The multi-task discriminator of patches: for each class its own real-or-fake map.

M.-Y. Liu et al., "Few-Shot Unsupervised Image-to-Image Translation", ICCV 2019, arXiv 1905.01723;
after L. Mescheder, A. Geiger, S. Nowozin, arXiv 1801.04406.
"""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.gans.networks.conditions import Condition
from saddlepoint.gans.networks.discriminator import Discriminator, Head
from saddlepoint.gans.networks.few_shot import he_normal, reflected
from saddlepoint.gans.networks.layers import without_autocast
from saddlepoint.schema import Size, checked

SLOPE = 0.2  # of the leaky ReLU
MOST_CHANNELS = 1024


class MultiTaskBlock(nn.Module):
    """LReLU, conv3x3, LReLU, conv3x3; plus the shortcut, conv1x1 where the channels change.

    Args:
        in_channels: c of the input (n, c, h, w).
        out_channels: channels of the output (n, c', h, w).
        skip: what an identity shortcut carries, see `MultiTaskDiscriminator`.
    """

    def __init__(self, in_channels: int, out_channels: int, skip: str) -> None:
        super().__init__()
        hidden = min(in_channels, out_channels)
        self.conv1 = reflected(in_channels, hidden, 3)
        self.conv2 = reflected(hidden, out_channels, 3)
        self.skip = skip
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = reflected(in_channels, out_channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c', h, w)."""
        activated = F.leaky_relu(maps, SLOPE)
        hidden = self.conv2(F.leaky_relu(self.conv1(activated), SLOPE))
        if self.shortcut is not None:
            return hidden + self.shortcut(maps)
        return hidden + (activated if self.skip == "reference" else maps)


class MultiTaskDiscriminator(Discriminator):
    """Conv7x7, stages of two residual blocks with pooling between them, LReLU, conv1x1 to planes.

    The second block of a stage doubles the channels (up to 1,024). The logits of an image are the
    plane of the class it is judged for; the others are left alone. A class that was not trained on
    has no plane, and asking for it raises an error.

    Args:
        shape: (c, h, w) of the images.
        condition: the classes; needed.
        width: channels of the first layer.
        stages: of two residual blocks each; the map of logits has 1 / 2^(stages - 1) of the size.
        skip: "clean": an identity shortcut carries its input; "reference": the input after the
            leaky ReLU, as in the released code, where that works in place.
    """

    @checked
    def __init__(
        self,
        *,
        shape: Sequence[int],
        condition: Condition | None = None,
        width: Size = 64,
        stages: Size = 5,
        skip: Literal["clean", "reference"] = "clean",
    ) -> None:
        if condition is None or not condition.num_classes:
            raise UserError(
                "A multi-task discriminator has a map for each class: set condition=classes."
            )
        widths = [min(width * 2**i, MOST_CHANNELS) for i in range(stages + 1)]
        super().__init__(
            condition=None,
            local_channels=widths[-1],
            pooled_features=widths[-1],
            spectral_norm=False,
        )
        self.head = self.new_head(condition.num_classes)
        self.first = reflected(shape[0], width, 7)
        self.stages = nn.ModuleList(
            nn.Sequential(MultiTaskBlock(a, a, skip), MultiTaskBlock(a, b, skip))
            for a, b in zip(widths, widths[1:], strict=False)
        )

    @property
    def is_conditional(self) -> bool:
        """Always: an image is judged for a class."""
        return True

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The last map (n, c, h', w'), and the same after the leaky ReLU, which heads read."""
        maps = self.first(images)
        for number, stage in enumerate(self.stages):
            if number:
                maps = F.avg_pool2d(F.pad(maps, [1] * 4, mode="reflect"), 3, stride=2)
            maps = stage(maps)
        return maps, F.leaky_relu(maps, SLOPE).float()

    def logits(
        self, pooled: Tensor, condition: Tensor | None = None, head: Head | None = None
    ) -> Tensor:
        """Maps of logits (n, 1, h', w'), float32: the plane of each image's class (n,) int64."""
        with without_autocast(pooled):
            if head is not None:
                return head(pooled.float())
            if condition is None:
                raise ValueError("a multi-task discriminator needs classes (n,)")
            planes = self.head(pooled.float())
            asked = condition[:, None, None, None].expand(-1, 1, *planes.shape[2:])
            return planes.gather(1, asked)

    def new_head(self, out_features: int) -> nn.Conv2d:
        """Output layer for every position, (n, c, h', w') to (n, out_features, h', w')."""
        return he_normal(nn.Conv2d(self.pooled_features, out_features, 1))
