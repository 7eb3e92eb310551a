"""From the shell to a command and back: one sentence and exit code 2 for what a user can mend."""

import contextlib
import difflib
import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from saddlepoint.errors import UserError, one_line_on_ctrl_c
from saddlepoint.records.settings import flat

CONF = Path(__file__).resolve().parent.parent / "conf"


def run(main: Callable[[], Any]) -> None:
    """Run a Hydra main function whose settings may be misspelt."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises instead of exiting itself.
    with mistakes():
        main()


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


def user_sentence(error: BaseException) -> str | None:
    """Return what to tell the user, or None if the error is not theirs to mend."""
    chain = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for link in chain:
        if isinstance(link, UserError):
            return " ".join(str(link).split())
        if isinstance(link, OSError) and link.errno == errno.ENOSPC:
            where = link.filename or "while writing"
            return f"The disk is full ({where}): free some space and resume."
    for link in chain:
        if isinstance(link, MisconfigurationException):
            return f"The trainer cannot start: {' '.join(str(link).split())}"
    for link in chain:
        if isinstance(link, HydraException | OmegaConfBaseException):
            return _config_sentence(str(link))
    return None


def _config_sentence(message: str) -> str:
    """Name what is misspelt and the nearest right spelling, from a message of Hydra."""
    if choice := re.search(r"Could not find '([\w/]+)/([^'/]+)'", message):
        group, name = choice.groups()
        options = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        return (
            f"'{name}' is no choice of {group}{_nearest(name, options)}"
            f" (choices: {', '.join(options)})."
        )
    if key := re.search(r"Could not override '([^']+)'", message):
        name = key.group(1).split("@")[0]
        script = Path(sys.argv[0]).stem
        config = script if (CONF / f"{script}.yaml").exists() else "train"
        return f"'{name}' is no setting{_nearest(name, known_settings(config))}."
    return f"The settings do not fit together: {' '.join(message.split())}"


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return f"; did you mean '{near[0]}'?" if near else ""


def known_settings(config_name: str = "train") -> list[str]:
    """Every group, and every dotted key of the default configuration."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(config_name)
    groups = [path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"]
    return sorted({*groups, *config, *flat(OmegaConf.to_container(config))})
