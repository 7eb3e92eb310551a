"""Scores and protocols by the names that they have under conf/score and conf/protocol."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import instantiate

from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.metric import Metric, SetMetric
from saddlepoint.evaluation.metrics.pairs import PairMetric

CONF = Path(__file__).resolve().parent.parent / "conf"

#: Settings of a protocol that move no score.
HARMLESS = (
    "_target_",
    "name",
    "batch_size",
    "weights",
    "download",
    "cache_dir",
    "note",
    "baselines",
)


def settings_of(group: str, name: str) -> dict[str, Any]:
    """Settings as their file has them; empty where there is no such file."""
    path = CONF / group / f"{name}.yaml"
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def metrics_of(scores: Mapping[str, Any]) -> dict[str, Metric]:
    """Make the metrics of a protocol.

    Args:
        scores: for each name a metric, or its options; they name its class by ``_target_``, unless
            there is a file of that name under conf/score.

    Raises:
        UserError: there is no such score, or what is named is no metric.
    """
    made = {}
    for name, given in scores.items():
        if not isinstance(given, Metric):
            options = dict(given or {})
            if "_target_" not in options:
                options = settings_of("score", name) | options
            if "_target_" not in options:
                known = ", ".join(sorted(path.stem for path in (CONF / "score").glob("*.yaml")))
                raise UserError(
                    f"There is no score '{name}': choose of {known}, or name a class of your own by"
                    " its _target_."
                )
            given = instantiate(options, _convert_="all")
        if not isinstance(given, SetMetric | PairMetric):
            raise UserError(
                f"The score '{name}' is a {type(given).__name__}: name a metric by its _target_."
            )
        made[name] = given
    return made


def is_unaltered(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether settings mean what those in the protocol's file do.

    Args:
        name: of a file under conf/protocol.
        settings: of `evaluation.evaluator.Evaluator`, ``scores`` being metrics.
    """
    published = settings_of("protocol", name)
    if "scores" not in published:
        return False
    published["scores"] = metrics_of(published["scores"])
    return _meaning(published) == _meaning({key: settings.get(key) for key in published})


def _meaning(settings: Mapping[str, Any]) -> dict[str, Any]:
    scores = {
        key: (type(metric), getattr(metric, "extractor", None), metric.definition())
        for key, metric in settings["scores"].items()
    }
    moving = {key: value for key, value in settings.items() if key not in HARMLESS}
    return moving | {"scores": scores, "seeds": list(settings["seeds"])}
