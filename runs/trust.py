"""What a file may make: the targets of settings that come with a checkpoint.

Reading a checkpoint runs no code, but making objects of its settings would: a ``_target_`` names
any function there is. So what a file may name is a short list, and nothing else is imported, let
alone called; a resolver in a file is never resolved.
"""

import functools
import pkgutil
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import Strategy
from torch.optim import Optimizer

from saddlepoint.errors import UserError
from saddlepoint.runs.command_line import CONF
from saddlepoint.runs.stages import Stage

#: Classes that are defined in these packages may be made.
ROOMS = ("gans", "losses", "datamodules", "representations", "evaluation", "extractors")
OWN = tuple(f"saddlepoint.{room}" for room in ROOMS)
#: Of these packages, classes of these kinds.
OTHERS = {
    "torch.optim": (Optimizer,),
    "pytorch_lightning": (Trainer, Callback, Logger, Strategy),
    "saddlepoint.runs": (Stage,),
}
SEARCH_PATH = "hydra.searchpath"
#: What a command line takes for ``${``, escaped or not.
RESOLVER = re.compile(r"\$[\s\\]*\{")


def check_settings_of_file(config: Any, trusted: Sequence[str], file: Any) -> None:
    """Refuse settings of a file that name what a file may not make, or that want resolving.

    Args:
        config: plain values.
        trusted: packages that the user trusts, by ``trust=[...]``.
        file: where the settings come from.

    Raises:
        UserError: on the first target, or the first resolver.
    """
    for target in targets(config):
        if not is_allowed(target, trusted):
            package = str(target).split(".")[0]
            cure = f"add trust=[{package}] if you know who wrote it."
            if package in {*sys.stdlib_module_names, "saddlepoint"}:
                cure = "do not use that file."
            raise UserError(
                f"{file} wants to call {str(target)[:200]}, which a file may not: {cure}"
            )
    refuse_resolvers(config, file)


def check_words_of_file(words: Sequence[str], trusted: Sequence[str], file: Any) -> None:
    """Refuse a stored command line that wants resolving, or a search path nobody trusts.

    Raises:
        UserError: on the first such word.
    """
    refuse_resolvers(list(words), file)
    for word in words:
        if word.lstrip("+~").startswith(SEARCH_PATH):
            for place in re.findall(r"[^\s,\[\]\"']+", word.partition("=")[2]):
                package = place.removeprefix("pkg://")
                if not place.startswith("pkg://") or package.split(".")[0] not in trusted:
                    raise UserError(
                        f"{file} wants settings from {place}: add trust=[{package.split('.')[0]}]"
                        " if you know who wrote it, or say hydra.searchpath= yourself."
                    )


def is_allowed(target: Any, trusted: Sequence[str]) -> bool:
    """Whether a file may name this target; what it may not name is not imported."""
    if not isinstance(target, str):
        return False
    if target in shipped() or any(target.startswith(f"{package}.") for package in trusted):
        return True
    if any(target.startswith(f"{room}.") for room in OWN):
        found = _resolved(target)
        # Defined there, and not reached through what a module there has imported.
        return isinstance(found, type) and f"{found.__module__}.".startswith(
            tuple(f"{room}." for room in OWN)
        )
    for package, kinds in OTHERS.items():
        if target.startswith(f"{package}."):
            found = _resolved(target)
            return isinstance(found, type) and issubclass(found, kinds)
    return False


def targets(config: Any) -> Iterator[Any]:
    """Every ``_target_`` in nested settings."""
    if isinstance(config, dict):
        if "_target_" in config:
            yield config["_target_"]
        for value in config.values():
            yield from targets(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from targets(value)


@functools.cache
def shipped() -> frozenset[str]:
    """The targets that the settings of this package name."""
    files = CONF.rglob("*.yaml")
    return frozenset(target for file in files for target in targets(yaml.safe_load(file.open())))


def refuse_resolvers(config: Any, file: Any) -> None:
    """Refuse ``${...}`` in what a file holds: a run stores its settings resolved.

    Raises:
        UserError: there is one.
    """
    values = config.values() if isinstance(config, dict) else config
    for value in values:
        if isinstance(value, dict | list | tuple):
            refuse_resolvers(value, file)
        elif isinstance(value, str) and RESOLVER.search(value):
            raise UserError(
                f"{file} holds a setting that wants resolving ({value[:80]}): a file of Saddlepoint"
                " has none, so do not use it."
            )


def _resolved(target: str) -> Any:
    try:
        return pkgutil.resolve_name(target)
    except Exception:  # there is nothing of that name
        return None
