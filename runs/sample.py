"""Make pictures from a trained generator: `runs.panels` has one function for each."""

from pathlib import Path

from omegaconf import DictConfig

from saddlepoint.errors import UserError
from saddlepoint.runs.animation import save_animation
from saddlepoint.runs.panels import PANELS
from saddlepoint.runs.panels.panel import Subject
from saddlepoint.runs.pictures import save
from saddlepoint.runs.settings import check_settings
from saddlepoint.runs.trained_run import TrainedRun


def sample(config: DictConfig) -> Path:
    """Write one picture, and others that come with it beside it, and return where it lies.

    Raises:
        UserError: a wrong setting, no such run, or the run cannot make it.
    """
    check_settings(config, "sample")
    kind = "gif" if config.what == "training" else "png"
    if config.output and not config.output.lower().endswith(f".{kind}"):
        raise UserError(
            f"what={config.what} is written as {kind.upper()}: let output={config.output} end with"
            f" .{kind}."
        )
    run = TrainedRun.find(config.run, config.output_dir, config.trust)
    panel = PANELS[config.what](Subject(run, config))
    output = Path(config.output) if config.output else run.folder / f"{config.what}.{kind}"
    for note in panel.notes:
        print(note)
    for name, picture in panel.more.items():
        print(save(picture, output.with_name(f"{output.stem}-{name}.png")))
    return save_animation(panel.frames, output) if panel.frames else save(panel.picture, output)


def run(config: DictConfig) -> None:
    """Write one picture and say where it lies."""
    print(sample(config))
