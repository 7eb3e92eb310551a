"""From a run, an exported folder, or the Hugging Face hub to a generator."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from saddlepoint.errors import UserError
from saddlepoint.exports import folder
from saddlepoint.exports.generator import TrainedGenerator
from saddlepoint.gans import Game
from saddlepoint.records.origin import versions
from saddlepoint.runs.trained_run import TrainedRun

HUB = "hf://"


def load(
    where: str | Path,
    *,
    device: torch.device | str = "cpu",
    trust: Sequence[str] = (),
    output_dir: str | Path = "outputs",
) -> TrainedGenerator:
    """See `saddlepoint.load`."""
    if str(where).startswith(HUB):
        where = _from_hub(str(where).removeprefix(HUB))
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and replaced
        if folder.is_export(Path(where)):
            return folder.read(Path(where), trust).to(device)
        run = TrainedRun.find(where, output_dir, trust)
        return generator_of(run, run.game()).to(device)


def generator_of(run: TrainedRun, game: Game) -> TrainedGenerator:
    """The generator of a run as it is sampled and scored.

    Args:
        run: that was trained.
        game: of it, with its weights.

    Raises:
        UserError: the game does more than draw with it, such as to train it on examples first.
    """
    if type(game).sample is not Game.sample:
        raise UserError(
            f"The generator of {run.folder} is trained on examples before it draws, and is none by"
            " itself: use python sample.py what=translate."
        )
    return TrainedGenerator(
        game.sampled(),
        game.task,
        seed=game.seed,
        precision=game.precision,
        about={
            "title": run.about(game)["title"],
            "method": run.content["config"]["method"],
            "iteration": game.iteration,
            "kimg": game.kimg,
            "weights": "ema" if game.is_averaged else "raw",
            "saddlepoint": versions().get("saddlepoint"),
        },
        data=cache(run.data),
    )


def _from_hub(name: str) -> Path:
    """Download what the settings and the weights are in; a copy that is there is taken.

    Args:
        name: ``user/name``, or ``user/name@revision``.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(
            "Loading from the hub needs huggingface_hub, which is not here: pip install"
            " huggingface_hub, or download the folder yourself and give its path."
        ) from error
    repository, _, revision = name.partition("@")
    try:
        found = huggingface_hub.snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=[folder.SETTINGS, folder.WEIGHTS],
        )
    except Exception as error:  # of the network, of names, of rights: many kinds
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{HUB}{name} cannot be had ({cause}): check its name.") from error
    if not folder.is_export(Path(found)):
        raise UserError(
            f"{HUB}{name} holds no {folder.SETTINGS} and {folder.WEIGHTS} of Saddlepoint: give the"
            " name of an exported generator."
        )
    return Path(found)
