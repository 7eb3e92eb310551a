"""Where a run lies, and what it says of itself there."""

import itertools
import shlex
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from saddlepoint.errors import UserError
from saddlepoint.gans import Game


def new_folder(config: DictConfig, title: str) -> Path:
    """Name the folder of a fresh run: ``{output_dir}/{run_name}``; nothing is written yet.

    Args:
        config: composed settings.
        title: names the run where ``run_name`` does not, together with seed and time.

    Raises:
        UserError: a run of that name is there.
    """
    if config.run_name:
        folder = Path(config.output_dir) / config.run_name
        # Only the first process of several starts the folder; the others come later.
        if folder.exists() and rank_zero_only.rank == 0:
            raise UserError(
                f"{folder} exists: resume it with ckpt={folder}, or choose another run_name."
            )
        return folder
    name = f"{title}-seed{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    numbers = itertools.count(2)  # a sweep may start two runs in a second
    folder = Path(config.output_dir) / name
    while folder.exists():
        folder = Path(config.output_dir) / f"{name}-{next(numbers)}"
    return folder


def title(config: DictConfig, spec: Any, game: Game) -> str:
    """Name what is trained: data, method, and the terms stacked on it."""
    stacked = [name for name in config.terms if name not in getattr(game, "defining_terms", {})]
    return "+".join([f"{spec.name}-{config.method}", *stacked])


def write_settings(folder: Path, config: DictConfig, overrides: list[str]) -> None:
    """Keep the resolved settings and the command line that led to them."""
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    (folder / "command.txt").write_text(shlex.join(["python", "train.py", *overrides]) + "\n")


def description(config: DictConfig, spec: Any) -> dict[str, Any]:
    """What a checkpoint and a record say of a run, in plain values."""
    return {
        "config": OmegaConf.to_container(config, resolve=True),
        "data": spec.plain(),
    }
