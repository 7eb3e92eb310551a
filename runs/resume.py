"""Going on where a run stopped, with its own settings and no others by accident."""

from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from saddlepoint.errors import UserError
from saddlepoint.records.settings import HARMLESS, flat, is_under
from saddlepoint.runs import checkpoint_file


class Resumption(NamedTuple):
    """What a run goes on with.

    Attributes:
        config: composed settings.
        overrides: the command line that composes them.
        content: of the checkpoint; None for a fresh run.
        folder: of the run; None for a fresh run.
    """

    config: DictConfig
    overrides: list[str]
    content: dict[str, Any] | None = None
    folder: Path | None = None


def resume(config: DictConfig, overrides: list[str]) -> Resumption:
    """Find the checkpoint that ``config.ckpt`` asks for, and the settings to go on with.

    The run's own command line is taken up again; ``overrides``, those of this command line, come on
    top. ``ckpt=last`` is the newest run that they do not contradict.

    Raises:
        UserError: no such checkpoint, the run is finished, or a setting that alters training
            changed without ``allow_changes=true``.
    """
    if config.ckpt is None:
        return Resumption(config, overrides)
    refusals = []
    for path in _candidates(config):
        content = checkpoint_file.load(path)
        merged = merge(content["overrides"], overrides)
        config = compose("train", overrides=merged)
        changed = changes(content["config"], OmegaConf.to_container(config, resolve=True))
        if changed and not config.allow_changes:
            listed = ", ".join(f"{key} ({old} -> {new})" for key, (old, new) in changed.items())
            refusals.append(
                f"Resuming {path} would alter its training, as settings differ: {listed}; put them"
                " back, or add allow_changes=true."
            )
        elif content["game"]["iteration"] >= config.iterations:
            refusals.append(
                f"The run {path} has finished its {config.iterations} iterations: to train on, add"
                f" iterations={2 * config.iterations} allow_changes=true."
            )
        else:
            return Resumption(config, merged, content, path.parent.parent)
    raise UserError(refusals[0])


def _candidates(config: DictConfig) -> list[Path]:
    if config.ckpt != "last":
        path = Path(config.ckpt)
        return [path / checkpoint_file.LAST if path.is_dir() else path]
    newest_first = checkpoint_file.runs_by_age(config.output_dir)
    if not newest_first:
        raise UserError(f"There is no run to resume under {config.output_dir}: leave out ckpt.")
    return newest_first


def changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that alter training and differ: ``{key: (old, new)}``; missing ones are None."""
    old, new = flat(old), flat(new)
    return {
        key: (old.get(key), new.get(key))
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key) and not is_under(key, HARMLESS)
    }


def merge(stored: list[str], given: list[str]) -> list[str]:
    """One override for each key; a given one replaces the stored."""
    parser = OverridesParser.create()
    merged = {}
    for override in parser.parse_overrides([*stored, *given]):
        merged[override.get_key_element().lstrip("+~")] = override.input_line
    return list(merged.values())
