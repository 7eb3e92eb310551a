"""The words of a command line, as a run keeps them."""

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

#: Of the settings of Hydra itself, those that a run cannot be composed without.
KEPT = ("hydra.searchpath",)


def typed_overrides() -> list[str]:
    """The overrides of the command that is running: settings, and where YAMLs are looked for."""
    typed = HydraConfig.get().overrides
    return [word for word in typed.hydra if _key(word) in KEPT] + list(typed.task)


def merge(stored: list[str], given: list[str]) -> list[str]:
    """One override for each key; a given one replaces the stored."""
    return list({_key(word): word for word in [*stored, *given]}.values())


def _key(word: str) -> str:
    override = OverridesParser.create().parse_override(word)
    return override.get_key_element().lstrip("+~")
