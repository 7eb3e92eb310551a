"""``hydra/sweeper=optuna``: the samplers of Optuna, current versions."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra_plugins.saddlepoint_sweepers.study_sweeper import StudySweeper
from saddlepoint.schema import checked

if TYPE_CHECKING:
    from saddlepoint.search.study import Search, Study


class OptunaSweeper(StudySweeper):
    """Searches by a sampler of Optuna's, see `search.optuna_study.OptunaStudy`. Nothing is pruned.

    Args:
        sampler: a sampler's class with ``_partial_: true``; it gets a seed unless it has one.
        storage: URL of a database; null: a journal in the folder of the sweep.
        study_name: name of the study in its storage.
        settings: of `StudySweeper`.
    """

    @checked
    def __init__(
        self,
        sampler: Callable[..., Any],
        storage: str | None = None,
        study_name: str = "saddlepoint",
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.sampler = sampler
        self.storage = storage
        self.study_name = study_name

    def study(self, search: "Search") -> "Study":
        """See `StudySweeper`."""
        from saddlepoint.search.optuna_study import OptunaStudy

        return OptunaStudy(search, self._sampler, self.storage, self.study_name)

    def _sampler(self, seed: int) -> Any:
        given = isinstance(self.sampler, partial) and "seed" in self.sampler.keywords
        return self.sampler() if given else self.sampler(seed=seed)
