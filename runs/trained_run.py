"""A run that has been trained, or is to be resumed: its folder, checkpoint, data and game."""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from hydra import compose
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.spec import DataSpec
from saddlepoint.errors import UserError
from saddlepoint.gans import Game
from saddlepoint.records.origin import UNKNOWN_ORIGIN
from saddlepoint.records.record import FILE_NAME
from saddlepoint.runs import checkpoint_file
from saddlepoint.runs.build import game_of_checkpoint
from saddlepoint.runs.checkpoint_file import LAST
from saddlepoint.runs.current_run import title_of
from saddlepoint.runs.overrides import merge
from saddlepoint.runs.stages import FOLDER, after_stages


class TrainedRun:
    """A run as one of its checkpoints has it; nothing is read before it is asked for.

    Args:
        checkpoint: the file.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint

    @classmethod
    def find(cls, where: str | Path, output_dir: str | Path) -> "TrainedRun":
        """Find a run.

        Args:
            where: its folder, one of its checkpoints, or "last": the newest run.
            output_dir: where the newest run is looked for.

        Raises:
            UserError: there is no run.
        """
        if where == "last":
            runs = cls.newest_first(output_dir)
            if not runs:
                raise UserError(f"There is no run under {output_dir}: train one, or name another.")
            return runs[0]
        path = Path(where)
        return cls(path / LAST if path.is_dir() else path)

    @classmethod
    def newest_first(cls, output_dir: str | Path) -> "list[TrainedRun]":
        """All runs under a folder, the one that wrote its last checkpoint last first."""
        found = Path(output_dir).rglob(str(LAST))
        return [cls(p) for p in sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)]

    @property
    def folder(self) -> Path:
        """The run's folder; of a checkpoint that lies elsewhere, the folder it lies in."""
        folder = self.checkpoint.parent
        return folder.parent if folder.name == LAST.parent.name else folder

    @property
    def records(self) -> Path:
        """The file of its scores."""
        return self.folder / FILE_NAME

    @cached_property
    def content(self) -> dict[str, Any]:
        """Everything in the checkpoint.

        Raises:
            UserError: there is none, it is torn, not one of ours, or from a later version.
        """
        return checkpoint_file.load(self.checkpoint)

    @property
    def config(self) -> DictConfig:
        """The settings that it was trained with."""
        return OmegaConf.create(self.content["config"])

    @property
    def overrides(self) -> list[str]:
        """The command line that composes them."""
        return self.content["overrides"]

    @property
    def iteration(self) -> int:
        """Finished iterations."""
        return self.content["game"]["iteration"]

    @property
    def seconds(self) -> float:
        """Wall-clock of the training up to here."""
        return self.content["seconds"]

    @property
    def made_by(self) -> dict[str, Any]:
        """Hardware and commit that trained it."""
        return self.content.get("made_by", UNKNOWN_ORIGIN)

    @property
    def has_images(self) -> bool:
        """Whether items are images, and no points."""
        return len(self.content["data"]["shape"]) == 3

    def about(self, game: Game) -> dict[str, Any]:
        """What a record says was trained.

        Args:
            game: that of the run.
        """
        config, data = self.content["config"], self.content["data"]
        return {"title": title_of(self.config, data["name"], game), "config": config, "data": data}

    def game(self, device: torch.device | str = "cpu") -> Game:
        """Build the game, with the weights of the checkpoint."""
        return game_of_checkpoint(self.content).to(device)

    def data(self, data_dir: str | None = None) -> DataModule:
        """Find the data that it was trained on, after the stages of its method.

        Args:
            data_dir: where data lie here, if no longer where the run found them.

        Raises:
            UserError: the data are missing, or are not those that the run was trained on.
        """
        config = self.config
        if data_dir is not None:
            config = compose("train", overrides=merge(self.overrides, [f"data_dir={data_dir}"]))
        data = instantiate(config.datamodule, _convert_="all")
        places = [Path(config.output_dir) / FOLDER, self.folder.parent / FOLDER]
        artifacts = next((place for place in places if place.is_dir()), places[0])
        data = after_stages(config.get("stages"), data, artifacts)
        if not self.was_trained_on(data):
            raise UserError(
                f"The data {data.spec.name} here are not those this run was trained on: put them"
                " back, or say where they lie with data_dir=."
            )
        return data

    def was_trained_on(self, data: DataModule) -> bool:
        """Whether images and, where the checkpoint knows them, annotations are the run's."""
        return data.spec.describes_same_data(DataSpec.from_plain(self.content["data"]))
