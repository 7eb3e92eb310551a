"""From settings to objects: the one place where networks, losses and a method come together."""

import inspect
import math
import os
from typing import Any

import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from saddlepoint.datamodules.base import DataSpec
from saddlepoint.errors import UserError
from saddlepoint.gans import Game
from saddlepoint.randomness import key_to_seed
from saddlepoint.schema import VARIADIC, settings_of


def build_game(config: DictConfig, spec: DataSpec) -> Game:
    """Build the game of ``config`` for data of one kind.

    A class gets what its constructor asks for by name: networks ``shape`` and ``condition``; a
    method the networks, ``condition``, ``adversarial`` (of loss=) and ``terms``.

    Args:
        config: composed settings.
        spec: of the data.

    Raises:
        UserError: settings that the method has no use for.
    """
    # Initial weights are drawn from the global generator: keyed by the run's seed.
    torch.manual_seed(key_to_seed(config.seed, "initial weights"))
    condition = _made(config.condition)(spec) if config.condition else None
    known = {"shape": tuple(spec.shape), "condition": condition}
    networks = {name: _made(node)(**_asked(node, known)) for name, node in config.network.items()}
    parts = {
        **networks,
        "condition": condition,
        "adversarial": _made(config.loss)() if config.loss else None,
        "terms": {name: _made(term)() for name, term in config.terms.items()},
    }
    taken = _asked(config.gan, parts)
    _refuse_useless(config, parts, taken)
    _refuse_missing(config, taken)
    game = _made(config.gan)(**taken)
    _refuse_unread(config, game, spec)
    _refuse_oversize(game, spec)
    return game


def game_of_checkpoint(content: dict[str, Any]) -> Game:
    """Build the game of a checkpoint, with its weights."""
    game = build_game(OmegaConf.create(content["config"]), DataSpec.from_plain(content["data"]))
    game.load_state(content["game"])
    return game


def _made(node: Any) -> Any:
    """What makes a node's object; Hydra itself would take arguments that are dataclasses apart."""
    return instantiate(node, _partial_=True, _convert_="all")


def _asked(node: DictConfig, known: dict[str, Any]) -> dict[str, Any]:
    """Of what is known, what a node's class asks for by name and the node itself does not say."""
    names = settings_of(get_object(node._target_))
    return {name: value for name, value in known.items() if name in names and name not in node}


def _refuse_missing(config: DictConfig, taken: dict[str, Any]) -> None:
    """Refuse a network= without one that the method plays with."""
    for name, parameter in inspect.signature(get_object(config.gan._target_)).parameters.items():
        is_needed = parameter.default is parameter.empty and parameter.kind not in VARIADIC
        if is_needed and name not in taken and name not in config.gan:
            raise UserError(
                f"gan={config.method} plays with a {name}, which network= does not give: choose"
                f" another network, or add +network.{name}._target_."
            )


def _refuse_unread(config: DictConfig, game: Game, spec: DataSpec) -> None:
    """Refuse data whose items lack what the generator is fed in training."""
    for name in game.task.reads:
        if name not in spec.fields:
            cure = "class_split" if name in ("shots", "target") else "another"
            raise UserError(
                f"gan={config.method} trains on items with the field {name}, which those of"
                f" {spec.name} lack: set datamodule={cure}."
            )


def _refuse_oversize(game: Game, spec: DataSpec) -> None:
    """Refuse iterations whose real items this machine cannot hold."""
    images = game.batches_per_iteration * game.batch_size
    needed = images * math.prod(spec.shape) * 4  # bytes, in float32
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise UserError(
            f"An iteration sees {images:,} real items, which take {needed / 2**30:,.0f} GiB, and"
            f" this machine has {there / 2**30:,.0f}: lower batch_size, or the updates per"
            " iteration."
        )


def _refuse_useless(config: DictConfig, parts: dict[str, Any], taken: dict[str, Any]) -> None:
    for name, setting in (("terms", "terms"), ("condition", "condition")):
        if parts[name] and name not in taken:
            raise UserError(
                f"gan={config.method} takes no {name}: leave {setting}= out, or choose another gan."
            )
    unknown = [name for name in config.network if name not in taken]
    if unknown:
        raise UserError(
            f"gan={config.method} has no {unknown[0]}, which network= gives: choose a network with"
            f" {', '.join(name for name in config.network if name in taken) or 'others'}."
        )
