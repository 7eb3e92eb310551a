"""A run that is going on: what its callbacks share, and what lies in its folder."""

import contextlib
import itertools
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from saddlepoint.atomic import append, write_text
from saddlepoint.devices import device_name
from saddlepoint.errors import UserError
from saddlepoint.gans import Game
from saddlepoint.gans.loss_log import DivergedError
from saddlepoint.records import ending
from saddlepoint.records.changes import MIDWAY, said_of_changes
from saddlepoint.records.objective import Objective
from saddlepoint.records.origin import origin
from saddlepoint.records.record import FILE_NAME
from saddlepoint.runs import checkpoint_file, lock
from saddlepoint.runs.content_hash import tensors_in

#: What was typed.
COMMANDS = "command.txt"


@dataclass
class CurrentRun:
    """A run that is going on.

    Attributes:
        config: composed settings.
        overrides: the command line that composes them.
        title: names what is trained.
        data: what the data are, in plain values.
        folder: where everything lies.
        condition: the kind of what is asked of a generation; None for nothing.
        stages: what the stages before it say of what they have made, by name.
        typed: the words of the command that begins or resumes it.
        iteration: where this process takes it up.
        changes: settings that were changed in its course, each time with the iteration.
        seconds_before: wall-clock of the run before this process.
        stopped_by: the signal that ends the run early, if one does.
        new_output_dir: whether the folder above was made for this run.
        is_locked: whether who begins the run is the only writer of the folder already.
    """

    config: DictConfig
    overrides: list[str]
    title: str
    data: dict[str, Any]
    folder: Path
    condition: str | None = None
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    typed: list[str] | None = None
    iteration: int = 0
    changes: list[dict[str, Any]] = field(default_factory=list)
    seconds_before: float = 0.0
    stopped_by: str | None = None
    new_output_dir: bool = False
    is_locked: bool = False
    _started: float = field(default_factory=time.monotonic)
    _lock: IO[str] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings in plain values."""
        return OmegaConf.to_container(self.config, resolve=True)

    @property
    def about(self) -> dict[str, Any]:
        """What a record says was trained."""
        about = {"title": self.title, "config": self.settings, "data": self.data}
        more = {"condition": self.condition, "stages": self.stages, "changes": self.changes}
        return {**about, **{key: value for key, value in more.items() if value}}

    @property
    def checkpoint(self) -> Path:
        """What the run resumes from."""
        return self.folder / checkpoint_file.LAST

    @property
    def records(self) -> Path:
        """The file of its scores."""
        return self.folder / FILE_NAME

    @property
    def seconds(self) -> float:
        """Wall-clock of the run so far, over all its processes."""
        return self.seconds_before + time.monotonic() - self._started

    def __enter__(self) -> "CurrentRun":
        """Become the only writer of the folder.

        Raises:
            UserError: another process is.
        """
        if rank_zero_only.rank == 0 and not self.is_locked:
            self._lock = lock.hold(self.folder)
        return self

    def __exit__(self, *_: Any) -> None:
        """Let others write there; a folder that a refused run would leave empty goes."""
        if self._lock is None:
            return
        if self.folder.is_dir() and [p.name for p in self.folder.iterdir()] == [lock.NAME]:
            (self.folder / lock.NAME).unlink()
            self.folder.rmdir()
            if self.new_output_dir:
                with contextlib.suppress(OSError):  # it holds other things by now
                    self.folder.parent.rmdir()
        self._lock.close()

    def is_stopped(self) -> bool:
        """Whether a signal ends the run early."""
        return self.stopped_by is not None

    def begin(self) -> None:
        """Make the folder, and keep the settings and the command line that led to them there.

        ``command.txt`` has a line for each process that played the run, with a remark on those that
        resumed it.

        Raises:
            UserError: it cannot be written.
        """
        write_text(self.folder / "config.yaml", OmegaConf.to_yaml(self.config, resolve=True))
        words = self.overrides if self.typed is None else self.typed
        command = shlex.join(["python", "train.py", *words])
        if self.iteration == 0:
            write_text(self.folder / COMMANDS, f"{command}\n")
        else:
            remark = f"resumed at iteration {self.iteration}"
            if self.changes and self.changes[-1]["iteration"] == self.iteration:
                remark += f", {MIDWAY}: {said_of_changes(self.changes[-1:])}"
            append(self.folder / COMMANDS, f"{command}  # {remark}\n".encode(), flush=False)
        self.checkpoint.parent.mkdir(exist_ok=True)
        ending.forget(self.folder)
        self._started = time.monotonic()

    def finish(self, score: Objective | None) -> None:
        """Note that nothing of the run is left to do.

        Args:
            score: its last.

        Raises:
            UserError: it cannot be written.
        """
        sentence = f"{self.config.iterations} iterations and all scores"
        ending.write(self.folder, ending.Ending(ending.FINISHED, sentence, score, self.seconds))

    def save(self, trainer: pl.Trainer, game: Game, path: Path | None = None) -> None:
        """Write a checkpoint, unless the game has diverged: the last good one is kept.

        Args:
            trainer: plays the game.
            game: what is written.
            path: where to; ``last.ckpt`` by default.

        Raises:
            DivergedError: a loss, or anything in the game's state, is not finite.
            UserError: the file cannot be written.
        """
        game.read_losses()
        state = game.state()
        numbers = [t for t in tensors_in(state) if t.is_floating_point() and t.numel()]
        if not torch.stack([torch.isfinite(t).all().to(game.device) for t in numbers]).all():
            raise DivergedError(
                "The weights, or what goes with them, are not finite after iteration"
                f" {game.iteration}: the run has diverged; lower the learning rate or add a"
                " gradient penalty."
            )
        if trainer.is_global_zero:
            content = {
                "config": self.settings,
                "overrides": self.overrides,
                "data": self.data,
                "stages": self.stages,
                "changes": self.changes,
                "game": state,
                "seconds": self.seconds,
                "threads": torch.get_num_threads(),
                "made_by": origin(device_name(game.device), trainer.world_size),
            }
            checkpoint_file.save(path or self.checkpoint, content)


def title_of(config: DictConfig, data: str, game: Game) -> str:
    """Name what is trained: data, method, and the terms stacked on it."""
    stacked = [name for name in config.terms if name not in getattr(game, "defining_terms", {})]
    return "+".join([f"{data}-{config.method}", *stacked])


def new_folder(config: DictConfig, title: str) -> Path:
    """Make the folder of a fresh run, ``{output_dir}/{run_name}``: it is this run's alone.

    Args:
        config: composed settings.
        title: names the run where ``run_name`` does not, together with seed and time.

    Raises:
        UserError: a run of that name is there, or the folder cannot be made.
    """
    given = config.run_name not in (None, "")
    usual = f"{title}-seed{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    name = str(config.run_name) if given else usual
    folder = Path(config.output_dir) / name
    if rank_zero_only.rank != 0:  # only the first process of several writes
        return folder
    # A sweep may start several runs in a second: the folder is made, not looked for.
    numbered = (folder.with_name(f"{name}-{number}") for number in itertools.count(2))
    for made in itertools.chain([folder], () if given else numbered):
        try:
            made.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(
                f"{made} cannot be made ({error.strerror}): choose another output_dir."
            ) from error
        return made
    raise UserError(f"{folder} exists: resume it with ckpt={folder}, or choose another run_name.")
