"""From settings to objects: the one place where networks, terms and a method come together."""

from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from saddlepoint.gans import Game
from saddlepoint.randomness import key_to_seed


def build_game(config: DictConfig, shape: tuple[int, ...], num_classes: int) -> Game:
    """Build the game of ``config`` for data of one shape.

    Args:
        config: composed settings.
        shape: of one item, (c, h, w) or (2,).
        num_classes: of the data; networks get them where ``config.conditional`` is true.
    """
    # Initial weights are drawn from the global generator: keyed by the run's seed.
    torch.manual_seed(key_to_seed(config.seed, "initial weights"))
    data = {"shape": tuple(shape), "num_classes": num_classes if config.conditional else 0}
    networks = {name: _instantiate(network, **data) for name, network in config.network.items()}
    # Called here rather than by Hydra, which would take a loss that is a dataclass for settings.
    make_game = _instantiate(config.gan, _partial_=True)
    return make_game(
        **networks,
        adversarial=_instantiate(config.loss),
        terms={name: _instantiate(term) for name, term in config.terms.items()},
    )


def game_of_checkpoint(content: dict[str, Any]) -> Game:
    """Build the game of a checkpoint, with its weights."""
    config, data = OmegaConf.create(content["config"]), content["data"]
    game = build_game(config, tuple(data["shape"]), len(data["classes"]))
    game.load_state(content["game"])
    return game


def _instantiate(node: Any, **arguments: Any) -> Any:
    return instantiate(node, **arguments, _convert_="all")
