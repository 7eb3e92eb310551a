"""Which protocol to score under, when nobody has said."""

from pathlib import Path
from typing import Any

import torch

from saddlepoint.evaluation import named_protocols
from saddlepoint.evaluation.evaluator import Evaluator, NoScores
from saddlepoint.evaluation.ranks import from_first_rank
from saddlepoint.extractors.inception_weights import (
    find_inception_weights,
    ways_to_get_inception_weights,
)


class AutomaticScores:
    """Chooses a protocol that the data and this machine allow, when it gets to know them.

    Args:
        cache_dir: for what is known of real images and takes long to compute.
    """

    def __init__(self, cache_dir: str | Path | None = None) -> None:
        self.cache_dir = cache_dir

    def check(self, data: Any, fakes: int | None = None) -> None:
        """What is missing is not chosen."""

    def prepare(
        self, data: Any, device: torch.device | str = "cpu", **options: Any
    ) -> Evaluator | NoScores:
        """Choose a protocol and prepare it; nothing is downloaded.

        Returns:
            What to use; its ``note`` says what a user can do to get a better one.
        """
        return self.choose(data, torch.device(device)).prepare(data, device, **options)

    def choose(self, data: Any, device: torch.device) -> Evaluator | NoScores:
        """What suits data of this kind."""
        spec = data.spec
        if len(spec.shape) == 1:
            if getattr(data, "mode_centres", None) is not None:
                return named_protocols.named("modes")
            return named_protocols.named("modes", scores={"fid": {}})
        # A folder of a user's own may have this name, but not these attributes.
        if spec.name == "avatars" and spec.attributes and spec.shape == (3, 32, 32):
            return named_protocols.named("quick")
        # The first rank decides for all: they compute the scores together.
        if from_first_rank(find_inception_weights() is None):
            return NoScores(f"No FID: {ways_to_get_inception_weights()}.")
        if device.type == "cpu":
            return NoScores(
                "No FID on a CPU unless monitor=fid10k asks for it: Inception takes about 0.1 s an"
                " image."
            )
        fewer = {} if spec.num_items >= 10_000 else {"num_real": spec.num_items}
        return named_protocols.named("fid10k", download=False, cache_dir=self.cache_dir, **fewer)
