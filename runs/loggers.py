"""Where numbers go: a CSV file always, and loggers of the user's choice."""

import csv
import io
import logging
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import wandb as wandb_sdk
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from saddlepoint.atomic import append, write_text
from saddlepoint.errors import UserError

log = logging.getLogger(__name__)

#: What tells wandb the seconds that its server has to answer when a run begins; and how many.
INIT_TIMEOUT = ("WANDB_INIT_TIMEOUT", "30")


class CSVFile(Logger):
    """One ``metrics.csv`` for a run, over all its interruptions.

    Lightning's CSV logger starts anew on a resumed run; this one goes on, and drops the rows of
    iterations that the resumed run repeats.

    Args:
        path: of the file.
        iteration: where the run starts; later rows of an earlier process are dropped.
    """

    def __init__(self, path: Path, iteration: int = 0) -> None:
        super().__init__()
        self.path = path
        self._rows: list[dict[str, Any]] = []
        if path.exists():
            self._rows = [row for row in _rows(path) if int(row["iteration"]) <= iteration]
        self._columns = list(dict.fromkeys(key for row in self._rows for key in row))
        self._is_on_disk = False  # until the first row, the file may hold what is to be dropped

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """There is one version: the run's."""
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run's folder holds its settings."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a row; a row of the same iteration is completed."""
        row = {"iteration": step, **metrics}
        if self._rows and int(self._rows[-1]["iteration"]) == step:
            self._rows[-1] |= row
            self._write_all()
            return
        self._rows.append(row)
        if self._is_on_disk and set(row) <= set(self._columns):
            text = io.StringIO(newline="")
            csv.DictWriter(text, self._columns).writerow(row)
            append(self.path, text.getvalue().encode(), flush=False)
        else:
            self._write_all()

    def _write_all(self) -> None:
        self._columns = list(dict.fromkeys([*self._columns, *self._rows[-1]]))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self.path, text.getvalue(), make_folder=False)
        self._is_on_disk = True


def _rows(path: Path) -> list[dict[str, str]]:
    """Rows of a file whose iteration and values are numbers; others are left out with a warning."""
    if not path.is_file():  # reading a pipe would never end
        raise UserError(f"{path} is no file: move it away.")
    rows, bad = [], 0
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            for row in csv.DictReader(file):
                # Cells beyond the header have no name, and missing ones no value.
                given = {key: value for key, value in row.items() if value}
                try:
                    int(given["iteration"])
                    [float(value) for value in given.values()]
                except (KeyError, ValueError, TypeError):
                    bad += 1
                else:
                    rows.append(given)
    except csv.Error:  # a cell without end
        bad += 1
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): let it be read.") from error
    if bad:
        log.warning("%d rows of %s hold no numbers and are left out", bad, path)
    return rows


class Wandb(WandbLogger):
    """Weights & Biases, which never ends a run: what fails there is told, and training goes on.

    Where its server refuses, it goes on offline; where its files cannot be written or its process
    is gone, without it. The run's own files hold the same numbers.
    """

    is_given_up = False

    @property
    def experiment(self) -> Any:
        """The run of wandb, begun where it was not; a dummy where that fails."""
        for instead in ("offline", "disabled"):
            try:
                return super().experiment
            except Exception as error:
                if self._wandb_init.get("mode") == instead:
                    continue
                log.warning("wandb refuses (%s): it goes on %s", error, instead)
                self._wandb_init["mode"] = instead
                self._wandb_init.pop("resume", None)
                wandb_sdk.teardown()  # it would remember the run that failed
        return super().experiment

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        """As of `WandbLogger`, where it can be."""
        self._if_it_can_be(super().log_metrics, *args, **kwargs)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """As of `WandbLogger`, where it can be."""
        self._if_it_can_be(super().log_hyperparams, *args, **kwargs)

    def log_image(self, *args: Any, **kwargs: Any) -> None:
        """As of `WandbLogger`, where it can be."""
        self._if_it_can_be(super().log_image, *args, **kwargs)

    def finish(self) -> None:
        """End its run."""
        self._if_it_can_be(lambda: self.experiment.finish())

    def _if_it_can_be(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        if self.is_given_up:
            return
        try:
            call(*args, **kwargs)
        except Exception as error:
            self.is_given_up = True
            log.warning("wandb has failed (%s): the run goes on without it", error)


def wandb(save_dir: str, name: str, project: str = "saddlepoint", **options: Any) -> Wandb:
    """Weights & Biases; offline where there is no key or no network (``wandb sync`` sends later).

    Args:
        save_dir: where wandb keeps its files; the run's folder.
        name: of the run; also its id, so that a resumed run goes on in the same place.
        project: of the run.
        options: of `pytorch_lightning.loggers.WandbLogger`.
    """
    options.setdefault("offline", not (_has_wandb_key() and _reaches_wandb()))
    if not options["offline"]:
        options.setdefault("resume", "allow")
    os.environ.setdefault(*INIT_TIMEOUT)
    return Wandb(save_dir=save_dir, name=name, id=name, project=project, **options)


def finish(loggers: Iterable[Logger]) -> None:
    """End what outlives a run in this process: the next run of a sweep is not this one."""
    for logger in loggers:
        if isinstance(logger, Wandb):
            logger.finish()


def _has_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path.home() / ".netrc"
    return netrc.exists() and "wandb" in netrc.read_text(errors="ignore")


def _reaches_wandb() -> bool:
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0]
    name, _, port = host.partition(":")
    try:
        with socket.create_connection((name, int(port or 443)), timeout=3):
            return True
    except OSError:
        return False


def tensorboard(save_dir: str, name: str, **options: Any) -> Logger:
    """TensorBoard event files in the run's folder.

    Raises:
        UserError: tensorboard is not installed.
    """
    try:
        return TensorBoardLogger(save_dir=save_dir, name="tensorboard", version="", **options)
    except ModuleNotFoundError as error:
        raise UserError(
            "logger=tensorboard needs tensorboard: pip install 'saddlepoint[tensorboard]'."
        ) from error
