"""The words of a command line, as a run keeps them."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, ListConfig, OmegaConf

#: Of the settings of Hydra itself, those that a run cannot be composed without.
KEPT = ("hydra.searchpath",)


def typed_overrides() -> list[str]:
    """The overrides of the command that is running: settings, and where YAMLs are looked for."""
    typed = HydraConfig.get().overrides
    return [word for word in typed.hydra if _key(word) in KEPT] + list(typed.task)


def merge(stored: list[str], given: list[str]) -> list[str]:
    """What was typed, and on top of it what is typed now: for each key the value given last.

    A key that was deleted and added anew (``~a +a=1``) keeps both words, in their order.
    """
    words = dict.fromkeys(map(_key, [*stored, *given]))
    for key in words:
        old, new = ([word for word in line if _key(word) == key] for line in (stored, given))
        words[key] = _replaced(old, new) if old and new else [*_typed_last(old or new)]
    return [word for line in words.values() for word in line]


def resolved(words: list[str], config: DictConfig) -> list[str]:
    """The words with what their resolvers say now: what a file holds is never resolved later."""
    return [
        f"{word.split('=')[0]}={_literal(OmegaConf.select(config, _key(word)))}"
        if "${" in word
        else word
        for word in words
    ]


def _literal(value: Any) -> str:
    """A value as a command line has it."""
    if isinstance(value, ListConfig | list):
        return f"[{','.join(map(_literal, value))}]"
    if isinstance(value, DictConfig | dict):
        return "{" + ",".join(f"{key}:{_literal(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def _replaced(old: list[str], new: list[str]) -> list[str]:
    """The words of one key when words of the same key come on top."""
    deletions = [word for word in old if word.startswith("~")]
    added = next((word[: len(word) - len(word.lstrip("+"))] for word in old if word[0] == "+"), "")
    new = _typed_last(new)
    if new[0].startswith("~"):
        # What no file has cannot be deleted: it is just no longer added.
        return new if deletions or not added else new[1:]
    if new[0].startswith("+"):
        return [*deletions[:1], *new]
    return [*deletions[:1], added + new[0]] if added else new


def _typed_last(line: list[str]) -> list[str]:
    """The words that count: the last value, and the deletion that comes before it."""
    deletion = [word for word in line[:-1] if word.startswith("~")][:1]
    return [*deletion, line[-1]]


def _key(word: str) -> str:
    override = OverridesParser.create().parse_override(word)
    return override.get_key_element().lstrip("+~")
