"""Scores while training, as the run's settings have them."""

from hydra.utils import instantiate

from saddlepoint.evaluation.callback import ScoreCallback
from saddlepoint.runs.current_run import CurrentRun
from saddlepoint.schema import Count


def scores_while_training(run: CurrentRun, every: Count | None) -> ScoreCallback:
    """Score under the protocol of ``monitor=``.

    Args:
        run: that is scored.
        every: iterations between scores; None scores only at the end.
    """
    return ScoreCallback(
        instantiate(run.config.monitor, _convert_="all"),
        every=every,
        folder=run.folder,
        run=run.about,
        seconds_before=run.seconds_before,
        stopped=run.is_stopped,
    )
