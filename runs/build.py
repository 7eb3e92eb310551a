"""From settings to objects: the one place where networks, losses and a method come together."""

import inspect
import math
import os
from typing import Any

import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from saddlepoint.datamodules.base import DataSpec
from saddlepoint.errors import UserError
from saddlepoint.gans import Game
from saddlepoint.gans.networks.conditions import Condition
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
    condition = condition_of(config.condition, spec)
    known = _known_to_networks(spec, condition)
    _refuse_oversized_networks(config, known)
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


def condition_of(node: DictConfig | None, spec: DataSpec) -> Condition | None:
    """What a generation is asked for; None for nothing."""
    return _made(node)(spec) if node else None


def network_of(node: DictConfig, spec: DataSpec, condition: Condition | None) -> nn.Module:
    """A network for data of one kind.

    Raises:
        UserError: this machine cannot hold it.
    """
    known = _known_to_networks(spec, condition)
    _refuse_oversized_networks(OmegaConf.create({"network": {"generator": node}}), known)
    return _made(node)(**_asked(node, known))


def _known_to_networks(spec: DataSpec, condition: Condition | None) -> dict[str, Any]:
    return {"shape": tuple(spec.shape), "condition": condition}


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
            is_of_episodes = name in ("shots", "target")
            cure = "set datamodule=class_split" if is_of_episodes else "choose another datamodule"
            raise UserError(
                f"gan={config.method} trains on items with the field {name}, which those of"
                f" {spec.name} lack: {cure}."
            )


def _refuse_oversize(game: Game, spec: DataSpec) -> None:
    """Refuse iterations whose real items this machine cannot hold."""
    images = game.batches_per_iteration * game.batch_size
    needed = images * math.prod(spec.shape) * 4  # bytes, in float32
    there = _memory()
    if needed > there:
        raise UserError(
            f"An iteration sees {images:,} real items, which take {needed / 2**30:,.1f} GiB, and"
            f" this machine has {there / 2**30:,.0f}: lower batch_size, or the updates per"
            " iteration."
        )


def _refuse_oversized_networks(config: DictConfig, known: dict[str, Any]) -> None:
    """Refuse networks that this machine cannot hold, before they take any memory."""
    largest, count = "", 0
    for name, node in config.network.items():
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta"):
                network = _made(node)(**_asked(node, known))
        except UserError:
            raise
        except Exception:  # one of a user's may compute with its weights as it is made
            continue
        size = sum(p.numel() for p in network.parameters())
        largest, count = (name if size > count else largest), count + size
    # With gradients and two moments, where those do not lie on an accelerator.
    needed = count * 4 * (1 if torch.cuda.is_available() else 4)  # bytes, in float32
    if needed > _memory():
        raise UserError(
            f"The networks have {count:,} parameters, which take {needed / 2**30:,.1f} GiB, and"
            f" this machine has {_memory() / 2**30:,.1f}: lower the sizes of network.{largest}."
        )


def _memory() -> int:
    """Bytes that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


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
