"""A sweep begins: it gets a folder of its own, and its points theirs where they are known."""

import importlib.util
import itertools
import pkgutil
import re
import shlex
import sys
import traceback
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from saddlepoint.atomic import write_text
from saddlepoint.errors import UserError
from saddlepoint.runs.command_line import mistakes
from saddlepoint.runs.rank import launched_rank
from saddlepoint.runs.sweeps import running
from saddlepoint.runs.sweeps.folder import Sweep
from saddlepoint.runs.sweeps.names import common_words, identity, name_of, parsed, point_name

#: Settings of one run, and what a sweep has in their place.
OF_ONE_RUN = {
    "ckpt": "the same command finds the points of its sweep and goes on with them",
    "run_name": "a point is named by what it is, and sweep_name= names the sweep",
}


class SweepStart(Callback):
    """Names a sweep where Hydra begins it; conf/train.yaml has it among Hydra's callbacks."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Choose the folder and tell it to all jobs.

        Raises:
            SystemExit: with one sentence, where the command makes no sense in a sweep.
        """
        with mistakes():
            try:
                _begin(config)
            except UserError:
                raise
            except Exception:  # Hydra would make a warning of it and go on
                traceback.print_exc()
                sys.exit(1)


def _begin(config: DictConfig) -> None:
    words = list(config.hydra.overrides.task)
    keys = {parsed(word).key_or_group for word in words}
    for key, instead in OF_ONE_RUN.items():
        if key in keys:
            raise UserError(f"{key}= is not needed in a sweep: leave it out, as {instead}.")
    if config.hydra.sweeper.get("max_batch_size") and _is_grid(config):
        raise UserError(
            "hydra.sweeper.max_batch_size= would end the sweep at the first batch with a failed"
            " point: leave it out; the launcher says how many points run at once."
        )
    _refuse_missing_launcher(config.hydra.launcher._target_)
    common = common_words(words)
    with read_write(config), open_dict(config):
        if config.sweep_name in (None, ""):
            config.sweep_name = name_of(_identity(config, words))
        folder = Path(str(config.hydra.sweep.dir))
    # What Hydra composes every job from, in whatever process it runs. Words that name no point are
    # told where Hydra has its keys that name no job.
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = str(folder)
        config.hydra.overrides.hydra += [
            f"hydra.sweep.dir={_quoted(str(folder))}",
            f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(_quoted, common))}]",
        ]
    if launched_rank() == 0:
        _make(Sweep(folder), config, words, common)


def _refuse_missing_launcher(target: str) -> None:
    plugin = re.match(r"hydra_plugins\.(hydra_(\w+)_launcher)\.", target)
    if plugin and plugin[1] not in {found.name for found in pkgutil.iter_modules(_plugins())}:
        raise UserError(
            f"The launcher {plugin[2]} is not installed: pip install 'saddlepoint[{plugin[2]}]'."
        )


def _plugins() -> list[str]:
    """Folders of Hydra's plugins."""
    found = importlib.util.find_spec("hydra_plugins")
    return list(found.submodule_search_locations or ()) if found else []


def _make(sweep: Sweep, config: DictConfig, words: list[str], common: list[str]) -> None:
    names = [point_name(point, common) for point in _grid(config, words)]
    running.begin(sweep, is_new=not sweep.folder.exists(), names=names)
    hydras = [word for word in config.hydra.overrides.hydra if not word.startswith("hydra.mode=")]
    command = shlex.join(["python", "train.py", "-m", *hydras[:-2], *words])
    write_text(sweep.folder / "command.txt", f"{command}\n")
    for name in names:
        sweep.reserve(name)
    sweep.write_list()


def _identity(config: DictConfig, words: list[str]) -> list[str]:
    """What is searched, by what, and the other words of the command that say what is trained."""
    sweeper = config.hydra.runtime.choices["hydra/sweeper"]
    return [
        *([] if _is_grid(config) else [f"sweeper={sweeper}"]),
        *_searched(config),
        *identity(words),
    ]


def _searched(config: DictConfig) -> list[str]:
    """Words of a sweeper's own settings, which a preset has instead of the command line."""
    params = OmegaConf.select(config, "hydra.sweeper.params")
    return [f"{key}={value}" for key, value in params.items()] if params else []


def _is_grid(config: DictConfig) -> bool:
    return config.hydra.sweeper._target_.endswith(".BasicSweeper")


def _grid(config: DictConfig, words: list[str]) -> list[list[str]]:
    """Words of every point as Hydra's own sweeper finds them; none for other sweepers."""
    if not _is_grid(config):
        return []
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    found = parser.parse_overrides([*_searched(config), *words])
    return list(itertools.chain.from_iterable(BasicSweeper.split_arguments(found, None)))


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
