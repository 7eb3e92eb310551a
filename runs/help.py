"""What settings mean, may be and are: ``python train.py --help``, ``--help gan.n_dis``.

All of it comes from the schema, which reads constructors; nothing heavy is imported for it.
"""

import inspect
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from saddlepoint.errors import UserError
from saddlepoint.records.settings import is_under
from saddlepoint.runs.command_line import CONF, did_you_mean, nearest_settings
from saddlepoint.runs.settings import COMMANDS
from saddlepoint.schema import Setting, outlined, settings_of, target_of, written

ABSENT = inspect.Parameter.empty
WIDEST = 100  # characters of a line


class Topic(NamedTuple):
    """One setting in a composition; its value is `ABSENT` if no file and no word sets it."""

    name: str
    setting: Setting
    value: Any


def help_topics(words: Sequence[str]) -> tuple[list[str], list[str]] | None:
    """What ``--help`` is asked about, nothing for all, and the other words; None without it."""
    if not {"--help", "-h"} & set(words):
        return None
    topics = [word for word in words if word and "=" not in word and word[0] not in "-+~"]
    return topics, [word for word in words if word not in topics and not word.startswith("-")]


def explain(command: str, names: Sequence[str], overrides: Sequence[str]) -> None:
    """Print what settings mean, may be, and are in a composition.

    Args:
        command: name of its configuration.
        names: dotted names of settings, or of what they lie under; none for all of the command.
        overrides: other words of the command line.

    Raises:
        UserError: a name is that of nothing.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        whole = compose(command, overrides=list(overrides), return_hydra_config=True)
        groups = _groups(command, list(overrides))
    header = whole.hydra.help.template
    plain = OmegaConf.masked_copy(whole, [key for key in whole if key != "hydra"])
    config = OmegaConf.to_container(plain, resolve=True)
    known = list(topics(config, COMMANDS[command]))
    if not names:
        print(overview(header, groups, known))
    for name in names:
        found = [topic for topic in known if is_under(topic.name, [name])]
        if not found and name not in groups:
            near = nearest_settings(name, [topic.name for topic in known])
            raise UserError(f"'{name}' is no setting{did_you_mean(near)}")
        parts = [_choices(name, groups[name])] if name in groups else []
        print("\n\n".join([*parts, *map(text, found)]))


def topics(config: Mapping[str, Any], owner: Any, prefix: str = "") -> Iterator[Topic]:
    """All settings of a composition, those that only a constructor knows included."""
    target = owner
    if "_target_" in config:
        target = outlined(config["_target_"]) or target_of(config["_target_"])
    known = settings_of(target) if target is not None else {}
    for name, setting in known.items():
        # Objects are given by the run.
        if name in config or not (setting.takes_objects or setting.words.startswith("a mapping")):
            yield Topic(f"{prefix}{name}", setting, config.get(name, ABSENT))
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from topics(value, None, f"{prefix}{name}.")


def overview(header: str, groups: Mapping[str, list[str]], known: Sequence[Topic]) -> str:
    """What a command does, its groups with their choices, and its settings.

    Args:
        header: what the command does, with examples.
        groups: choices by group.
        known: all settings; those that nobody has set are left out.
    """
    parts = [header.strip(), "== Settings (name=value) =="]
    if groups:
        parts.insert(1, "== Groups and choices (group=choice) ==")
        parts.insert(2, "\n".join(_choices(group, names) for group, names in groups.items()))
    parts += ["\n".join(text(topic) for topic in known if topic.value is not ABSENT)]
    return "\n\n".join(parts)


def text(topic: Topic) -> str:
    """Name, value, meaning, and what it may be."""
    name, setting, value = topic
    if isinstance(value, Mapping):
        here = value.get("_target_", ", ".join(value) or "nothing")
    else:
        here = "not set" if value is ABSENT else written(value)
    facts = [] if isinstance(value, Mapping) else [setting.words]
    if facts and setting.default is not ABSENT and not callable(setting.default):
        facts.append(f"default {written(setting.default)}")
    if value is ABSENT:
        facts.append(f"set it with +{name}=")
    head = _wrapped(f"{name}: {here}", "", "    ") or [f"{name}:"]
    lines = [*head, *_wrapped(setting.meaning, "  "), *_wrapped("; ".join(facts), "  ")]
    return "\n".join(lines)


def _groups(command: str, words: list[str]) -> dict[str, list[str]]:
    """Groups of a command and their choices, those of a search path among the words included."""
    loader = GlobalHydra.instance().config_loader()
    fields = settings_of(COMMANDS[command])
    return {
        group: loader.get_group_options(group, config_name=command, overrides=words)
        for group in loader.list_groups("")
        # What a run is made of is chosen by train.py, one by one or by each other.
        if group != "hydra" and (command == "train" or group in fields)
    }


def _choices(group: str, names: Sequence[str]) -> str:
    return "\n".join(_wrapped(f"{group}: {', '.join(names)}", "", "    "))


def _wrapped(sentence: str, indent: str, hanging: str | None = None) -> list[str]:
    width = min(WIDEST, shutil.get_terminal_size().columns)
    return textwrap.wrap(
        sentence,
        width,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
