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
        """The data's own protocol, or what stands in for it; or none."""
        if data.protocol is None:
            return NoScores(f"No score suits {data.spec.name} by itself: choose one by monitor=.")
        chosen = self._fitting(data.protocol, data)
        # The first rank decides for all: they compute the scores together.
        how = f"monitor={data.protocol}"
        reasons = [why_not_at_hand(e, device, how) for e in chosen.extractors.values()]
        reason = from_first_rank(next(filter(None, reasons), None))
        if reason is None:
            return chosen
        if data.stand_in is None:
            return NoScores(reason)
        return self._fitting(
            data.stand_in, data, note=f"Scored under {data.stand_in}, which is no FID. {reason}"
        )

    def _fitting(self, name: str, data: Any, **changes: Any) -> Evaluator:
        """A protocol by name, with all real images where it wants more than there are."""
        published = settings_of("protocol", name)
        changes["download"] = False
        if published["cache_dir"] is not None:
            changes["cache_dir"] = self.cache_dir
        if (published["num_real"] or 0) > data.spec.num_items:
            changes["num_real"] = data.spec.num_items
        return Evaluator.named(name, **changes)
