"""Which score to show while training, when nobody has said."""

from pathlib import Path
from typing import Any

import torch

from evaluation.extractors import AvatarClassifier, RawValues
from evaluation.inception import InceptionV3Compat
from evaluation.inception_weights import find_inception_weights, ways_to_get_inception_weights
from evaluation.ranks import from_first_rank
from evaluation.score import FrechetScore, NoScore


class AutomaticScore:
    """Chooses a score that the data and this machine allow, when it gets to know them.

    Args:
        seed: of the score chosen.
        cache_dir: for statistics of real images that take long to compute.
    """

    name: str | None = None

    def __init__(self, seed: int = 0, cache_dir: str | Path | None = None) -> None:
        self.seed = seed
        self.cache_dir = cache_dir

    def check(self, data: Any) -> None:
        """What is missing is not chosen."""

    def prepare(self, data: Any, device: torch.device | str = "cpu") -> FrechetScore | NoScore:
        """Choose a score and prepare it; nothing is downloaded.

        Returns:
            The score to use; its ``note`` says what a user can do to get a better one.
        """
        return self.choose(data.spec, torch.device(device)).prepare(data, device)

    def choose(self, spec: Any, device: torch.device) -> FrechetScore | NoScore:
        """The score for data of this kind."""
        if len(spec.shape) == 1:
            return FrechetScore(RawValues(), num_fake=10_000, batch_size=2000, seed=self.seed)
        # A folder of a user's own may have this name, but not these attributes.
        if spec.name == "avatars" and spec.attributes and spec.shape == (3, 32, 32):
            return FrechetScore(AvatarClassifier(), num_fake=5000, batch_size=250, seed=self.seed)
        # The first rank decides for all: they compute the score together.
        if from_first_rank(find_inception_weights() is None):
            return NoScore(f"No FID: {ways_to_get_inception_weights()}.")
        if device.type == "cpu":
            return NoScore(
                "No FID on a CPU unless metrics=fid10k asks for it: Inception takes about 0.1 s an"
                " image."
            )
        return FrechetScore(
            InceptionV3Compat(download=False),
            num_real=min(10_000, spec.num_items),
            num_fake=10_000,
            seed=self.seed,
            cache_dir=self.cache_dir,
        )
