"""The protocols under conf/protocol by their names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from saddlepoint.evaluation.evaluator import Evaluator

FOLDER = Path(__file__).resolve().parent.parent / "conf" / "protocol"

#: Settings of a protocol that move no score.
HARMLESS = ("_target_", "name", "batch_size", "weights", "download", "cache_dir")


def evaluator(name: str | None = None, **settings: Any) -> Evaluator:
    """Make the evaluator of a protocol; one that was altered loses its name.

    Published figures stand beside scores of their protocol's name, so the name has to be true.

    Args:
        name: of a file under conf/protocol that the settings began with.
        settings: of `evaluation.evaluator.Evaluator`.
    """
    unaltered = name is not None and _meaning(settings) == _meaning(settings_of(name))
    return Evaluator(name=name if unaltered else None, **settings)


def named(name: str, **changes: Any) -> Evaluator:
    """Make the evaluator of a protocol under conf/protocol.

    Args:
        name: of its file.
        changes: settings to replace.
    """
    settings = settings_of(name)
    settings.pop("_target_")
    # Values with ${...} are for Hydra; who calls this says where things lie.
    plain = {k: v for k, v in settings.items() if "${" not in str(v)}
    return evaluator(**plain | changes)


def settings_of(name: str) -> dict[str, Any]:
    """Settings of a protocol as its file has them; empty where there is no such file."""
    path = FOLDER / f"{name}.yaml"
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def _meaning(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in HARMLESS}
