"""A run that has been trained, or is to be resumed: its folder, checkpoint, data and game."""

from collections.abc import Sequence
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
from saddlepoint.records.ending import FILES, FINISHED
from saddlepoint.records.origin import UNKNOWN_ORIGIN
from saddlepoint.records.record import FILE_NAME
from saddlepoint.runs import checkpoint_file
from saddlepoint.runs.build import game_of_checkpoint
from saddlepoint.runs.checkpoint_file import LAST
from saddlepoint.runs.current_run import title_of
from saddlepoint.runs.overrides import merge
from saddlepoint.runs.stages import FOLDER, after_stages
from saddlepoint.runs.trust import check_settings_of_file, check_words_of_file, targets


class TrainedRun:
    """A run as one of its checkpoints has it; nothing is read before it is asked for.

    Args:
        checkpoint: the file.
        trusted: packages whose classes its settings may name, see `runs.trust`.
    """

    def __init__(self, checkpoint: Path, trusted: Sequence[str] = ()) -> None:
        self.checkpoint, self.trusted = checkpoint, tuple(trusted)
        self.written = 0  # when what was read had been written

    @classmethod
    def find(
        cls, where: str | Path, output_dir: str | Path, trusted: Sequence[str] = ()
    ) -> "TrainedRun":
        """Find a run.

        Args:
            where: its folder, one of its checkpoints, or "last": the newest run.
            output_dir: where the newest run is looked for.
            trusted: packages whose classes its settings may name.

        Raises:
            UserError: there is no run.
        """
        if where == "last":
            runs = cls.newest_first(output_dir, trusted)
            if not runs:
                raise UserError(f"There is no run under {output_dir}: train one, or name another.")
            return runs[0]
        path = Path(where)
        return cls(path / LAST if path.is_dir() else path, trusted)

    @classmethod
    def newest_first(
        cls, output_dir: str | Path, trusted: Sequence[str] = ()
    ) -> "list[TrainedRun]":
        """All runs under a folder, the one that wrote its last checkpoint last first."""
        found = sorted(Path(output_dir).rglob(str(LAST)), key=lambda p: p.stat().st_mtime)
        return [cls(path, trusted) for path in reversed(found)]

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
            UserError: there is none, it is torn, not one of ours, from a later version, or its
                settings name what a file may not.
        """
        self.written = self.checkpoint.stat().st_mtime_ns if self.checkpoint.is_file() else 0
        content = checkpoint_file.load(self.checkpoint)
        check_settings_of_file(content["config"], self.trusted, self.checkpoint)
        return content

    def composed(self, words: Sequence[str]) -> tuple[DictConfig, list[str]]:
        """Compose its command line with more words on top; also gives the words of both.

        Raises:
            UserError: its command line names what a file may not.
        """
        merged = merge(self.overrides, list(words))
        kept = [word for word in self.overrides if word in merged]
        check_words_of_file(kept, self.trusted, self.checkpoint)
        own = OmegaConf.to_container(compose("train", overrides=kept))
        own = {key: value for key, value in own.items() if key != "hydra"}
        for target in targets(own):
            check_settings_of_file({"_target_": target}, self.trusted, self.checkpoint)
        return compose("train", overrides=merged), merged

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
    def is_finished(self) -> bool:
        """Whether the run is over, its last scores included; reads no checkpoint."""
        return (self.folder / FILES[FINISHED]).exists()

    @property
    def seconds(self) -> float:
        """Wall-clock of the training up to here."""
        return self.content["seconds"]

    @property
    def threads(self) -> int | None:
        """Threads of each process that trained it; None if not known."""
        number = self.content.get("threads")
        return number if isinstance(number, int) and number > 0 else None

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
        about = {"title": title_of(self.config, data["name"], game), "config": config, "data": data}
        more = {key: self.content.get(key) for key in ("stages", "changes")}
        more["condition"] = game.condition and game.condition.kind
        return {**about, **{key: value for key, value in more.items() if value}}

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
            config, _ = self.composed([f"data_dir={data_dir}"])
        data = instantiate(config.datamodule, _convert_="all")
        places = [self.folder.parent / FOLDER, Path(config.output_dir) / FOLDER]
        artifacts = next((place for place in places if place.is_dir()), places[0])
        data, _ = after_stages(config.get("stages"), data, artifacts)
        if not self.was_trained_on(data):
            raise UserError(
                f"The data {data.spec.name} here are not those this run was trained on: put them"
                " back, or say where they lie with data_dir=."
            )
        return data

    def was_trained_on(self, data: DataModule) -> bool:
        """Whether images and, where the checkpoint knows them, annotations are the run's."""
        return data.spec.describes_same_data(DataSpec.from_plain(self.content["data"]))
