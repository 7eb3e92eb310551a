"""From the shell to a command and back: one sentence and exit code 2 for what a user can mend."""

import contextlib
import errno
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from saddlepoint.errors import UserError, one_line_on_ctrl_c
from saddlepoint.records.settings import flat

CONF = Path(__file__).resolve().parent.parent / "conf"

# A preset in conf/hydra has the name of the plugin that it sets, which Hydra remarks on.
warnings.filterwarnings("ignore", message=r"\s*'hydra/\w+/\w+' is validated against ConfigStore")


def run(main: Callable[[], Any]) -> None:
    """Run a Hydra main function whose settings may be misspelt."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises instead of exiting itself.
    with mistakes():
        if topics := help_topics(sys.argv[1:]):
            from saddlepoint.runs.help import explain

            explain(_config_name(), *topics)
            return
        main()


def help_topics(words: list[str]) -> tuple[list[str], list[str]] | None:
    """Settings that ``--help`` is asked about, and the other words; None for a plain ``--help``."""
    if not {"--help", "-h"} & set(words):
        return None
    topics = [word for word in words if "=" not in word and word[0] not in "-+~"]
    others = [word for word in words if word not in topics and not word.startswith("-")]
    return (topics, others) if topics else None


def _config_name() -> str:
    script = Path(sys.argv[0]).stem
    return script if (CONF / f"{script}.yaml").exists() else "train"


@contextlib.contextmanager
def mistakes() -> Iterator[None]:
    """End with exit code 2 and one sentence on stderr on what the user can mend; 130 on Ctrl-C.

    ``debug=true`` on the command line shows the traceback as well.
    """
    try:
        with one_line_on_ctrl_c():
            yield
    except Exception as error:
        sentence = user_sentence(error)
        if sentence is None:
            raise
        if "debug=true" in (argument.lower() for argument in sys.argv):
            traceback.print_exc()
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(2)


def causes(error: BaseException) -> list[BaseException]:
    """An error, what led to it, what led to that, and so on."""
    chain = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


def user_sentence(error: BaseException) -> str | None:
    """Return what to tell the user, or None if the error is not theirs to mend."""
    chain = causes(error)
    for link in chain:
        if isinstance(link, UserError):
            return " ".join(str(link).split())
        if isinstance(link, OSError) and link.errno == errno.ENOSPC:
            where = link.filename or "while writing"
            return f"The disk is full ({where}): free some space and resume."
        if isinstance(link, MemoryError | torch.OutOfMemoryError):
            return "The memory is not enough: lower batch_size, or the widths of the networks."
    for link in chain:
        if isinstance(link, MisconfigurationException):
            return f"The trainer cannot start: {' '.join(str(link).split())}"
    for link in chain:
        if isinstance(link, HydraException | OmegaConfBaseException | yaml.YAMLError):
            return _config_sentence(str(link))
    return None


def _config_sentence(message: str) -> str:
    """Name what is misspelt and the nearest right spelling, from a message of Hydra."""
    if choice := re.search(r"Could not (?:find|load) '([\w/]+)/([^'/]+)'", message):
        group, name = choice.groups()
        options = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        return (
            f"'{name}' is no choice of {group}"
            f"{did_you_mean(get_close_matches(name, options, n=1)).rstrip('.')}"
            f" (choices: {', '.join(options)})."
        )
    if key := re.search(r"Could not override '([^']+)'", message):
        name = key.group(1).split("@")[0]
        near = nearest_settings(name, known_settings(_config_name()))
        return f"'{name}' is no setting{did_you_mean(near)}"
    return f"The settings do not fit together: {' '.join(message.split())}"


def did_you_mean(names: list[str]) -> str:
    """The end of a sentence on a name that is none."""
    alternatives = " or ".join(f"'{name}'" for name in names)
    return f"; did you mean {alternatives}?" if names else "."


def nearest_settings(name: str, names: list[str]) -> list[str]:
    """Settings that were meant by a name that is none; none where nothing is near.

    What counts is the last part: ``lr``, and ``learning_rate`` by its initials, are the learning
    rates of all optimisers.
    """
    last = name.split(".")[-1]
    initials = "".join(word[0] for word in last.split("_") if word) if "_" in last else None
    for wanted in (last, initials):
        same = [known for known in names if "." in known and known.split(".")[-1] == wanted]
        # Those of the group that was named, if any, and of those that a run mentions last.
        group = [known for known in same if known.split(".")[0] == name.split(".")[0]]
        if same:
            return sorted(group or same, key=lambda known: ("generator" not in known, known))[:3]
    if near := get_close_matches(name, names, n=1, cutoff=0.75):
        return near
    parts = {known.split(".")[-1]: known for known in reversed(names)}
    return [parts[part] for part in get_close_matches(last, parts, n=1, cutoff=0.8)]


def known_settings(config_name: str = "train") -> list[str]:
    """Every group, and every dotted key of the default configuration."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(config_name)
    groups = [path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"]
    return sorted({*groups, *config, *flat(OmegaConf.to_container(config))})
