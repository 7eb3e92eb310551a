"""A data set made of another one."""

from torch import Tensor

from saddlepoint.datamodules.base import DataModule


class Wrapper(DataModule):
    """A data set that is another one with something changed.

    How items are served (flip, resident, ...) is for that set itself to say.

    Args:
        of: the data set.
    """

    def __init__(self, of: DataModule) -> None:
        super().__init__(
            of.name,
            flip=of.flip,
            resident=of.resident,
            resident_mb=of.resident_mb,
            num_workers=of.num_workers,
            cache_dir=of.cache_dir,
        )
        self.of = of
        self.protocol, self.extractor, self.stand_in = of.protocol, of.extractor, of.stand_in
        self.only_held_out = of.only_held_out

    @property
    def mode_centres(self) -> Tensor | None:
        """Means of the modes of points."""
        return self.of.mode_centres

    @property
    def mode_std(self) -> float | None:
        """Standard deviation of the modes of points."""
        return self.of.mode_std
