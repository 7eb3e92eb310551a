"""Which protocol to score under, when nobody has said."""

from pathlib import Path
from typing import Any

import torch

from saddlepoint.evaluation.evaluator import Evaluator, NoScores
from saddlepoint.evaluation.fakes import Fakes
from saddlepoint.evaluation.named import settings_of
from saddlepoint.evaluation.ranks import from_first_rank
from saddlepoint.extractors.named import why_not_at_hand
from saddlepoint.schema import checked


class AutomaticScores:
    """The protocol that the data name for themselves, if this machine allows it.

    Args:
        cache_dir: for what is known of real images and takes long to compute.
    """

    @checked
    def __init__(self, cache_dir: str | Path | None = None) -> None:
        self.cache_dir = cache_dir

    def check(self, data: Any, fakes: Fakes | None = None) -> None:
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
        """The data's own protocol, with all of their images where it wants more; or none."""
        if data.protocol is None:
            return NoScores(f"No score suits {data.spec.name} by itself: choose one by monitor=.")
        published = settings_of("protocol", data.protocol)
        changes: dict[str, Any] = {"download": False}
        if published["cache_dir"] is not None:
            changes["cache_dir"] = self.cache_dir
        if (published["num_real"] or 0) > data.spec.num_items:
            changes["num_real"] = data.spec.num_items
        chosen = Evaluator.named(data.protocol, **changes)
        # The first rank decides for all: they compute the scores together.
        how = f"monitor={data.protocol}"
        reasons = [why_not_at_hand(e, device, how) for e in chosen.extractors.values()]
        reason = from_first_rank(next(filter(None, reasons), None))
        return chosen if reason is None else NoScores(reason)
