"""What a setting means: ``python train.py --help gan.n_dis``."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from saddlepoint.errors import UserError
from saddlepoint.records.settings import is_under
from saddlepoint.runs.command_line import CONF, did_you_mean, nearest_settings
from saddlepoint.runs.settings import COMMANDS
from saddlepoint.schema import Setting, settings_of, target_of, written

ABSENT = inspect.Parameter.empty


class Topic(NamedTuple):
    """One setting in a composition; its value is `ABSENT` if no file and no word sets it."""

    name: str
    setting: Setting
    value: Any


def explain(command: str, names: list[str], overrides: list[str]) -> None:
    """Print what settings mean, may be, and are in a composition.

    Args:
        command: name of its configuration.
        names: dotted names of settings, or of what they lie under.
        overrides: other words of the command line.

    Raises:
        UserError: a name is that of nothing.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose(command, overrides=overrides), resolve=True)
    known = list(topics(config, COMMANDS[command]))
    for name in names:
        found = [topic for topic in known if is_under(topic.name, [name])]
        if not found:
            near = nearest_settings(name, [topic.name for topic in known])
            raise UserError(f"'{name}' is no setting{did_you_mean(near)}")
        print("\n\n".join(map(text, found)))


def topics(config: Mapping[str, Any], owner: Any, prefix: str = "") -> Iterator[Topic]:
    """All settings of a composition, those that only a constructor knows included."""
    target = target_of(config["_target_"]) if "_target_" in config else owner
    known = settings_of(target) if target is not None else {}
    for name, setting in known.items():
        # Objects are given by the run.
        if name in config or not (setting.takes_objects or setting.words.startswith("a mapping")):
            yield Topic(f"{prefix}{name}", setting, config.get(name, ABSENT))
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from topics(value, None, f"{prefix}{name}.")


def text(topic: Topic) -> str:
    """Name, value, meaning, and what it may be."""
    name, setting, value = topic
    if isinstance(value, Mapping):
        here = value.get("_target_", ", ".join(value) or "nothing")
    else:
        here = "not set" if value is ABSENT else written(value)
    facts = [setting.words]
    if setting.default is not ABSENT and (setting.default is None or not callable(setting.default)):
        facts.append(f"default {written(setting.default)}")
    if value is ABSENT:
        facts.append(f"set it with +{name}=")
    meaning = [f"  {setting.meaning}"] if setting.meaning else []
    return "\n".join([f"{name}: {here}", *meaning, f"  {'; '.join(facts)}"])
