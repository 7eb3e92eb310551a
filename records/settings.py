"""Settings of a run by their dotted names, and those that leave the training as it is."""

from collections.abc import Iterable
from typing import Any

#: Settings that say where and how a run is carried out, not what is trained.
HARMLESS = (
    *(
        "trainer",
        "logger",
        "monitor",
        "metrics",  # its name in records of schema 1
        "protocol",
        "keep_best",
        "output_dir",
        "data_dir",
        "run_name",
        "ckpt",
        "debug",
    ),
    *("allow_changes", "sample_every", "score_every", "checkpoint_every", "gan.log_every"),
    *("datamodule.root", "datamodule.path", "datamodule.resident", "datamodule.resident_mb"),
    *("datamodule.num_workers", "datamodule.cache_dir"),
)


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings to ``{"gan.n_dis": 5, ...}``."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def is_under(key: str, names: Iterable[str]) -> bool:
    """Whether a dotted key is one of ``names`` or lies below one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)
