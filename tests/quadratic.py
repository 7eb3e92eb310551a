"""A Hydra application whose score is known: what sweepers are tested with."""

import sys
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore

from saddlepoint.errors import UserError
from saddlepoint.records.objective import Objective
from saddlepoint.runs.command_line import CONF

DEFAULTS = {"x": 0.0, "y": 0.0, "kind": "a", "seed": 0, "scale": 1.0, "plain": False, "stop": None}
ConfigStore.instance().store(
    name="quadratic",
    node={
        **DEFAULTS,
        "hydra": {"run": {"dir": "."}, "sweep": {"subdir": "."}, "output_subdir": None},
    },
)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="quadratic")
def main(config):
    """Least at x = 0.3, y = 2 and kind a; half of a unit more for every seed."""
    if config.kind == "broken":
        raise UserError("This kind is broken: choose another.")
    if config.kind == "odd":
        raise ValueError("something odd")
    if config.kind == "lost":
        return float("nan")
    if config.kind == "unscored":
        return None
    if config.stop and Path(config.stop).exists():
        Path(config.stop).unlink()
        sys.exit(130)
    value = (config.x - 0.3) ** 2 + (config.y - 2.0) ** 2 / 4 + 0.3 * (config.kind == "b")
    value = config.scale * value + 0.5 * config.seed
    if config.plain:
        return value
    return Objective(value, "depth" if config.scale < 0 else "distance", _better(config.scale))


def _better(scale):
    return "larger" if scale < 0 else "smaller"


if __name__ == "__main__":
    main()
