"""Where the commands begin: help, completion and refusals, before anything heavy is imported.

Hydra composes the settings, and they are held against what takes them by its source alone
(`outline`). Only then is the command imported, and torch and Lightning with it.
"""

import gc
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from saddlepoint.runs.command_line import CONF, mistakes
from saddlepoint.runs.help import explain, help_topics
from saddlepoint.runs.settings import check_settings, known_before
from saddlepoint.runs.sweeps import running

#: What a command does with its settings.
WORK = {
    "train": "saddlepoint.runs.train:run",
    "evaluate": "saddlepoint.runs.evaluate:evaluate",
    "sample": "saddlepoint.runs.sample:run",
    "export": "saddlepoint.exports.command:run",
    "train_extractor": "saddlepoint.runs.train_extractor:train_extractor",
}


def enter(command: str, words: Sequence[str]) -> None:
    """Run a command of Hydra's, or explain it.

    Args:
        command: its name in `WORK`, also that of its configuration.
        words: of the command line.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises instead of exiting itself.
    with mistakes():
        if (topics := help_topics(words)) is not None:
            explain(command, *topics)
            return

        @hydra.main(version_base="1.3", config_path=str(CONF), config_name=command)
        def composed(config: DictConfig) -> Any:
            return _do(command, config)

        running.to_its_end(composed)


def _do(command: str, config: DictConfig) -> Any:
    """Check composed settings, import what works with them, and give them to it."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:  # a point that is refused is one point
        return _work(command)(config)
    with mistakes():
        check_settings(known_before(config), command, imports=False)
        return _work(command)(config)


def _work(command: str) -> Callable[[DictConfig], Any]:
    """Import a command. What that makes stays: it is never searched for garbage, a long search."""
    if "torch" in sys.modules or not gc.isenabled():  # there may be garbage of other work
        return pkgutil.resolve_name(WORK[command])
    gc.disable()
    try:
        work = pkgutil.resolve_name(WORK[command])
        gc.freeze()
    finally:
        gc.enable()
    return work
