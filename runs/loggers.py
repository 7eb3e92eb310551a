"""Loggers of the user's choice beside ``metrics.csv``: what they are told, and where it lies.

Each gets the resolved settings, every loss and score with its iteration and kimg, and the pictures.
"""

import importlib.util
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from saddlepoint.errors import UserError
from saddlepoint.fingerprint import fingerprint
from saddlepoint.records.settings import HARMLESS, flat, is_under
from saddlepoint.schema import checked

log = logging.getLogger(__name__)

#: What tells wandb the seconds that its server has to answer when a run begins; and how many.
INIT_TIMEOUT = ("WANDB_INIT_TIMEOUT", "30")


class Wandb(WandbLogger):
    """Weights & Biases, which never ends a run: what fails there is told, and training goes on.

    Where its server refuses, or wants a key that it has not, it goes on offline; where its files
    cannot be written or its process is gone, without it. The run's own files hold the same numbers.
    """

    is_given_up = False

    @property
    def experiment(self) -> Any:
        """The run of wandb, begun where it was not; a dummy where that fails."""
        begun = self._experiment is not None
        for instead in ("offline", "disabled"):
            try:
                found = super().experiment
                break
            except Exception as error:
                if self._wandb_init.get("mode") == instead:
                    continue
                log.warning("wandb refuses (%s): it goes on %s", error, instead)
                self._wandb_init["mode"] = instead
                self._wandb_init.pop("resume", None)
                import wandb

                wandb.teardown()  # it would remember the run that failed
        else:
            found = super().experiment
        if not begun and hasattr(found, "define_metric"):
            # What all methods have in common, whatever an iteration of theirs is.
            found.define_metric("kimg")
            found.define_metric("*", step_metric="kimg")
        return found

    def belongs_to(self, group: str) -> None:
        """Put the run into a group, unless the user has named one."""
        self._wandb_init.setdefault("group", group)

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        """As of `WandbLogger`, where it can be."""
        self._if_it_can_be(super().log_metrics, *args, **kwargs)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """As of `WandbLogger`, where it can be."""
        self._if_it_can_be(super().log_hyperparams, *args, **kwargs)

    def log_picture(self, name: str, picture: Image.Image, iteration: int, kimg: float) -> None:
        """Show a picture of that moment."""
        import wandb

        self.log_metrics({name: [wandb.Image(picture)], "kimg": kimg}, step=iteration)

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


class TensorBoard(TensorBoardLogger):
    """TensorBoard's event files.

    Args:
        axis: what its horizontal axis counts: iterations, or images shown to critics.
        options: of `pytorch_lightning.loggers.TensorBoardLogger`.
    """

    @checked
    def __init__(
        self, *, axis: Literal["iterations", "images"] = "iterations", **options: Any
    ) -> None:
        super().__init__(**options)
        self.axis = axis

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """As of `TensorBoardLogger`, on the axis chosen."""
        super().log_metrics(metrics, self._place(step, metrics.get("kimg")))

    def log_picture(self, name: str, picture: Image.Image, iteration: int, kimg: float) -> None:
        """Show a picture of that moment."""
        place = self._place(iteration, kimg)
        self.experiment.add_image(name, np.asarray(picture), place, dataformats="HWC")

    def _place(self, iteration: int | None, kimg: float | None) -> int | None:
        return iteration if self.axis == "iterations" or kimg is None else round(1000 * kimg)


def wandb(save_dir: str, name: str | None, project: str = "saddlepoint", **options: Any) -> Wandb:
    """Weights & Biases; online or not as wandb itself decides, by its login and ``WANDB_MODE``.

    Args:
        save_dir: where wandb keeps its files; the run's folder.
        name: of the run; also its id, so that a resumed run goes on in the same place.
        project: of the run.
        options: of `pytorch_lightning.loggers.WandbLogger`; group: all seeds of the same settings.

    Raises:
        UserError: wandb is not installed.
    """
    if importlib.util.find_spec("wandb") is None:
        raise UserError("logger=wandb needs wandb: pip install 'saddlepoint[wandb]'.")
    os.environ.setdefault(*INIT_TIMEOUT)
    return Wandb(save_dir=save_dir, name=name, id=name, project=project, **options)


def tensorboard(save_dir: str, name: str, **options: Any) -> TensorBoard:
    """TensorBoard event files in the run's folder.

    Args:
        save_dir: the run's folder.
        name: of the run, which its folder has.
        options: of `TensorBoard`.

    Raises:
        UserError: tensorboard is not installed.
    """
    try:
        return TensorBoard(save_dir=save_dir, name="tensorboard", version="", **options)
    except ModuleNotFoundError as error:
        raise UserError(
            "logger=tensorboard needs tensorboard: pip install 'saddlepoint[tensorboard]'."
        ) from error


def group_of(settings: Mapping[str, Any], title: str) -> str:
    """What runs of the same training have in common, whatever their seed.

    Args:
        settings: resolved, in plain values.
        title: names what is trained.
    """
    alter = {
        key: value
        for key, value in flat(settings).items()
        if key.split(".")[-1] != "seed" and not is_under(key, HARMLESS)
    }
    return f"{title}-{fingerprint(alter)[:8]}"


def send_picture(
    loggers: Iterable[Logger], name: str, picture: Image.Image, iteration: int, kimg: float
) -> None:
    """Show a picture in all loggers that can: ours, and Lightning's own."""
    for logger in loggers:
        if isinstance(logger, Wandb | TensorBoard):
            logger.log_picture(name, picture, iteration, kimg)
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, [picture], step=iteration)
        elif isinstance(logger, TensorBoardLogger):
            pixels = np.asarray(picture)
            logger.experiment.add_image(name, pixels, iteration, dataformats="HWC")


def finish(loggers: Iterable[Logger]) -> None:
    """End what outlives a run in this process: the next run of a sweep is not this one."""
    for logger in loggers:
        if isinstance(logger, Wandb):
            logger.finish()
