"""Make pictures from a trained generator: `runs.panels` has one function for each.

``what=images`` writes its samples one by one instead, see `runs.sample_files`.
"""

from pathlib import Path

from omegaconf import DictConfig

from saddlepoint.errors import UserError
from saddlepoint.runs.animation import save_animation
from saddlepoint.runs.panels import PANELS
from saddlepoint.runs.panels.panel import Subject
from saddlepoint.runs.pictures import save
from saddlepoint.runs.sample_files import ZIP, write_samples
from saddlepoint.runs.settings import check_settings
from saddlepoint.runs.trained_run import TrainedRun


def sample(config: DictConfig) -> Path:
    """Write one picture, and others that come with it beside it, and return where it lies.

    Raises:
        UserError: a wrong setting, no such run, or the run cannot make it.
    """
    check_settings(config, "sample")
    if config.what == "images":
        return _images(config)
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


def _images(config: DictConfig) -> Path:
    """Write samples one by one, to a folder or a zip."""
    if config.output and Path(config.output).suffix.lower() not in ("", ZIP):
        raise UserError(
            f"what=images writes a folder or a zip: let output={config.output} end with {ZIP}, or"
            " with no such ending."
        )
    run = TrainedRun.find(config.run, config.output_dir, config.trust)
    output = Path(config.output) if config.output else run.folder / config.what
    return write_samples(Subject(run, config), output)


def run(config: DictConfig) -> None:
    """Write one picture and say where it lies."""
    print(sample(config))
