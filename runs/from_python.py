"""Training, scoring and comparing from Python, a notebook say, with the words of the commands."""

import contextlib
import time
import uuid
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from PIL import Image

from saddlepoint.errors import UserError
from saddlepoint.records.reading import read_records
from saddlepoint.records.record import FILE_NAME
from saddlepoint.runs.command_line import CONF, user_sentence

if TYPE_CHECKING:
    from saddlepoint.exports.generator import TrainedGenerator


class Run:
    """A run that has been trained.

    Attributes:
        folder: where everything lies.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @cached_property
    def generator(self) -> "TrainedGenerator":
        """Its generator, as it is sampled and scored."""
        from saddlepoint.exports.load import load

        return load(self.folder)

    @property
    def records(self) -> list[dict[str, Any]]:
        """Its scores and what they mean, see `records.record`, in the order they were computed."""
        return read_records(self.folder / FILE_NAME)

    @property
    def scores(self) -> dict[str, float]:
        """Its last scores; empty if there are none."""
        return self.records[-1]["scores"] if self.records else {}

    def score(self, *words: str) -> dict[str, float]:
        """Score as ``python evaluate.py run=...`` does; the record joins the run's.

        Args:
            words: settings, such as "protocol=fid10k"; by default the run's own protocol.

        Raises:
            UserError: a wrong setting, or a score that cannot be had.
        """
        from saddlepoint.runs.evaluate import evaluate

        with _composed("evaluate", [f"run={self.folder}", *words]) as config:
            return evaluate(config).means

    def export(self, *words: str) -> Path:
        """Write its generator to a folder, as ``python export.py run=...`` does.

        Args:
            words: settings, such as "formats=[torchscript]" and "output=my_gan".

        Returns:
            The folder.

        Raises:
            UserError: a wrong setting, or its generator cannot be exported.
        """
        from saddlepoint.exports.command import export

        with _composed("export", [f"run={self.folder}", *words]) as config:
            return export(config)

    def pictures(self) -> dict[int, Image.Image]:
        """Pictures of the same samples, by the iteration they were drawn in."""
        paths = sorted((self.folder / "samples").glob("*.png"))
        return {int(p.stem): Image.open(p) for p in paths if p.stem.isdecimal()}

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.5g}" for name, value in self.scores.items())
        return f"<Run {self.folder}: {scores or 'not scored'}>"


def train(words: Sequence[str]) -> Run:
    """See `saddlepoint.train`."""
    from saddlepoint.runs import train as command

    words = list(words)
    if any(word.startswith("ckpt=") for word in words):
        raise UserError(
            "From Python a run is begun: go on with one by python train.py ckpt=..., which says"
            " what it goes on with."
        )
    with _composed("train", words) as config:
        name = config.run_name
        if name in (None, ""):  # so that its folder is known, whoever else trains here
            moment = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
            name = f"{config.method}-seed{config.seed}-{moment}"
    words = [word for word in words if not word.startswith("run_name=")] + [f"run_name={name}"]
    with _composed("train", words) as config:
        command.train(config, words)
        return Run(Path(config.output_dir) / str(name))


def compare(folders: Sequence[Any], best: bool = False) -> None:
    """See `saddlepoint.compare`."""
    from saddlepoint.leaderboard.command import main

    paths = [str(each.folder if isinstance(each, Run) else each) for each in folders]
    main([*paths, *(["--best"] if best else [])])


@contextlib.contextmanager
def _composed(command: str, words: Sequence[str]) -> Iterator[DictConfig]:
    """Compose the settings of a command, whatever Hydra has composed before in this process.

    Raises:
        UserError: a setting is misspelt.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            yield compose(command, overrides=list(words))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(user_sentence(error) or str(error)) from error
    finally:
        GlobalHydra.instance().clear()
