"""``hydra/sweeper=lazy_gp``: Bayesian optimisation whose model costs O(n^2) a point."""

from typing import TYPE_CHECKING, Any, Literal

from hydra_plugins.saddlepoint_sweepers.study_sweeper import StudySweeper
from saddlepoint.schema import Count, NotNegative, Positive, checked

if TYPE_CHECKING:
    from saddlepoint.search.study import Search, Study


class LazyGPSweeper(StudySweeper):
    """Searches by a lazy Gaussian process, see `search.lazy_study.LazyStudy`.

    Args:
        n_init: points spread evenly before the model is asked.
        kernel: matern52 or rbf.
        ard: whether every setting has a length scale of its own.
        noise: variance of a score as a share of all scores' variance, or learned.
        refit: when hyper-parameters are learned anew: geometric, lml_drop, or every so many points.
        acquisition: what the next point maximises: log_ei, log_pi or ucb.
        xi: what counts as an improvement, in standard deviations of the scores; not for ucb.
        kappa: standard deviations above the mean, for ucb.
        pending: what running points are imagined to give: believer, worst, mean or best.
        on_failure: whether a failed point gets the worst score so far, or is left out of the model.
        log_score: whether the logarithms of scores are modelled: for positive ones such as FID.
        candidates: points among which the next one is looked for.
        settings: of `StudySweeper`.
    """

    @checked
    def __init__(
        self,
        n_init: Count = 10,
        kernel: Literal["matern52", "rbf"] = "matern52",
        ard: bool = True,
        noise: Positive | Literal["learned"] = "learned",
        refit: Count | Literal["geometric", "lml_drop"] = "geometric",
        acquisition: Literal["log_ei", "log_pi", "ucb"] = "log_ei",
        xi: NotNegative = 0.0,
        kappa: NotNegative = 2.576,
        pending: Literal["believer", "worst", "mean", "best"] = "believer",
        on_failure: Literal["impute_worst", "drop"] = "impute_worst",
        log_score: bool = False,
        candidates: Count = 1000,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.acquisition = {"name": acquisition, "xi": xi, "kappa": kappa}
        self.options = {
            "n_init": n_init,
            "kernel": kernel,
            "ard": ard,
            "noise": None if noise == "learned" else noise,
            "refit": refit,
            "pending": pending,
            "on_failure": on_failure,
            "log_score": log_score,
            "candidates": candidates,
        }

    def study(self, search: "Search") -> "Study":
        """See `StudySweeper`."""
        from saddlepoint.search.acquisition import acquisition_of
        from saddlepoint.search.lazy_study import LazyStudy

        return LazyStudy(search, acquisition=acquisition_of(**self.acquisition), **self.options)
