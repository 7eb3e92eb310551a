"""Settings by their dotted names, and those that leave the training as it is."""

from collections.abc import Iterable
from typing import Any

#: Settings that say where and how a run is carried out, not what is trained.
HARMLESS = (
    *("trainer", "logger", "monitor", "protocol", "keep_best", "output_dir", "data_dir"),
    "metrics",  # the monitor's name in records of schema 1
    *("run_name", "sweep_name", "ckpt", "trust", "debug", "allow_changes", "gan.log_every"),
    *("sample_every", "score_every", "checkpoint_every"),
    # Where data lie, not what they are.
    *(
        f"{data}.{setting}"
        for data in ("datamodule", "datamodule.of")
        for setting in (
            *("root", "path", "file", "resident", "resident_mb", "num_workers", "cache_dir"),
        )
    ),
    # The project's own; one of a user's may alter the game.
    *("callbacks.scores", "callbacks.sample_grids", "callbacks.animation"),
    *("callbacks.best_checkpoints", "callbacks.last_checkpoint"),
    *("callbacks.final_scores", "callbacks.status_line"),
)


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings to ``{"gan.n_dis": 5, ...}``; what is empty leaves nothing."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def is_under(key: str, names: Iterable[str]) -> bool:
    """Whether a dotted key is one of ``names`` or lies below one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)
