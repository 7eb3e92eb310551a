"""What can be said about how a small classifier is trained."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Lt

from saddlepoint.schema import Count, Images, Natural, NotNegative, Positive, Size, check_fields


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    Attributes:
        seed: key of all randomness: weights, held-out images, order, augmentation.
        epochs: times that each training image is shown; None shows 450,000 in all, and none more
            than 40 times.
        batch_size: images of an update.
        learning_rate: largest; it rises to this and falls to 0.
        weight_decay: of AdamW.
        width: channels at full resolution; the features have 8 times as many.
        held_out: share of the images that the accuracy is measured on.
        flip: whether images are mirrored left and right; None mirrors those in colour.
        shift: largest shift, as a share of the side.

    Raises:
        UserError: one is out of its range.
    """

    seed: Natural = 0
    epochs: Count | None = None
    batch_size: Images = 128
    learning_rate: Positive = 5e-3
    weight_decay: NotNegative = 5e-2
    width: Size = 16
    held_out: Annotated[float, Ge(0), Lt(0.5)] = 0.1
    flip: bool | None = None
    shift: Annotated[float, Ge(0), Lt(0.5)] = 0.125

    def __post_init__(self) -> None:
        check_fields(self)
