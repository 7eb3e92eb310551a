"""Settings that were changed while a run went on: it is then no run of its last settings alone."""

from collections.abc import Mapping, Sequence
from typing import Any

#: What tables call it, among the settings in which runs differ.
MIDWAY = "changed midway"


def said_of_changes(changes: Sequence[Mapping[str, Any]]) -> str:
    """Changes in words: "gan.n_dis 1 -> 2 at iteration 500".

    Args:
        changes: as a record has them under ``run``: ``{"iteration": 500, "settings": {"gan.n_dis":
            [1, 2]}}`` each.
    """
    parts = [
        ", ".join(f"{key} {old} -> {new}" for key, (old, new) in change["settings"].items())
        + f" at iteration {change['iteration']}"
        for change in changes
    ]
    return " ".join("; ".join(parts).split())
