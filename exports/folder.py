"""The folder of an exported generator: weights as safetensors, and the settings that build it.

Reading runs no code of the file: safetensors holds numbers alone, and what the settings may name is
the short list of `runs.trust`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from saddlepoint.datamodules.spec import DataSpec
from saddlepoint.errors import UserError
from saddlepoint.exports.generator import TrainedGenerator
from saddlepoint.gans.tasks import FromLatents
from saddlepoint.runs.build import condition_of, network_of
from saddlepoint.runs.content_hash import sha256_of
from saddlepoint.runs.trust import check_settings_of_file

FORMAT, VERSION = "saddlepoint-generator", 1
SETTINGS, WEIGHTS = "config.json", "model.safetensors"
#: Keys of the weights: those of the network, and what its condition draws from.
NETWORK, CONDITION = "generator.", "condition."


def files_of(
    generator: TrainedGenerator, config: dict[str, Any], data: dict[str, Any]
) -> dict[str, bytes]:
    """Weights and settings, by the name of the file.

    Args:
        generator: that is exported.
        config: settings it was trained with.
        data: what the data are, in plain values.
    """
    tensors = _tensors(generator)
    settings = {
        "format": FORMAT,
        "version": VERSION,
        **generator.about,
        "network": config["network"]["generator"],
        "condition": config["condition"] or None,
        "prior": generator.prior,
        "seed": generator.seed,
        "precision": generator.precision,
        "data": data,
        "sha256": sha256_of(tensors),
    }
    return {
        SETTINGS: (json.dumps(settings, indent=2) + "\n").encode(),
        WEIGHTS: save_tensors(tensors, metadata={"format": "pt"}),
    }


def _tensors(generator: TrainedGenerator) -> dict[str, Tensor]:
    parts = {NETWORK: generator.network, CONDITION: generator.task.condition}
    found = {
        f"{prefix}{name}": tensor.detach().cpu().clone().contiguous()
        for prefix, module in parts.items()
        if module is not None
        for name, tensor in module.state_dict().items()
    }
    return dict(sorted(found.items()))


def is_export(folder: Path) -> bool:
    """Whether a folder holds an exported generator."""
    return (folder / SETTINGS).is_file() and (folder / WEIGHTS).is_file()


def read(folder: Path, trusted: Sequence[str] = ()) -> TrainedGenerator:
    """Build the generator of an exported folder.

    Args:
        folder: that `files_of` lies in.
        trusted: packages whose classes its settings may name, see `runs.trust`.

    Raises:
        UserError: it is damaged, of a later version, or its settings name what a file may not.
    """
    file = folder / SETTINGS
    try:
        settings = json.loads(file.read_bytes())
        tensors = load_tensors((folder / WEIGHTS).read_bytes())
    except (OSError, ValueError, SafetensorError, RecursionError) as error:
        raise _damaged(folder) from error
    if not isinstance(settings, dict) or settings.get("format") != FORMAT:
        raise UserError(f"{file} is not of an exported generator: give a folder of export.py.")
    if settings.get("version") != VERSION:
        raise UserError(
            f"{folder} has format {settings.get('version')} and this version reads {VERSION}:"
            " update Saddlepoint."
        )
    if settings.get("sha256") != sha256_of(dict(sorted(tensors.items()))):
        raise _damaged(folder)
    for node in (settings.get("network"), settings.get("condition")):
        if node is not None and not isinstance(node, dict):
            raise _damaged(folder)
        check_settings_of_file(node or {}, trusted, file)
    try:
        return _built(settings, tensors)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _damaged(folder) from error


def _built(settings: dict[str, Any], tensors: dict[str, Tensor]) -> TrainedGenerator:
    spec = DataSpec.from_plain(settings["data"])
    condition = condition_of(OmegaConf.create(settings["condition"]), spec)
    network = network_of(OmegaConf.create(settings["network"]), spec, condition)
    for prefix, module in ((NETWORK, network), (CONDITION, condition)):
        if module is not None:
            own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            module.load_state_dict(own)
    about = ("title", "method", "iteration", "kimg", "weights", "saddlepoint")
    return TrainedGenerator(
        network,
        FromLatents(network.latent_dim, settings["prior"], condition),
        seed=settings["seed"],
        precision=settings["precision"],
        about={name: settings.get(name) for name in about},
    )


def _damaged(folder: Path) -> UserError:
    return UserError(f"The exported generator {folder} is damaged: export it again.")
