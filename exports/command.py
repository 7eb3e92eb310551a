"""Take a trained generator away: ``python export.py run=outputs/<run>``."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hydra.utils import get_class
from omegaconf import DictConfig

from saddlepoint.atomic import UnwritableError
from saddlepoint.errors import UserError
from saddlepoint.exports import folder as exported
from saddlepoint.exports.card import PICTURE, card
from saddlepoint.exports.generator import TrainedGenerator
from saddlepoint.exports.load import generator_of
from saddlepoint.exports.programs import KINDS, program
from saddlepoint.records.reading import read_records
from saddlepoint.runs.pictures import save
from saddlepoint.runs.progress import output, progress
from saddlepoint.runs.settings import check_settings
from saddlepoint.runs.trained_run import TrainedRun

CARD = "README.md"


def export(config: DictConfig) -> Path:
    """Write the folder of an exported generator, whole or not at all; return where it lies.

    Raises:
        UserError: a wrong setting, no such run, or its generator cannot be exported.
    """
    check_settings(config, "export")
    run = TrainedRun.find(config.run, config.output_dir, config.trust)
    target = Path(config.output) if config.output else run.folder / "export"
    if target.exists() and not exported.is_export(target):
        raise UserError(f"{target} is there and is no earlier export: choose another output=.")
    game = run.game()
    generator = generator_of(run, game)
    _refuse_others(generator, run)
    wanted = config.formats
    if wanted is None:
        wanted = [name for name, kind in KINDS.items() if kind.missing is None]
    settings, data = run.content["config"], run.content["data"]
    with progress() as tell:
        files = exported.files_of(generator, settings, data)
        for done, name in enumerate(wanted):
            tell("programs", done, len(wanted))
            files[KINDS[name].file] = program(generator, name)
    files[CARD] = card(
        generator,
        get_class(settings["gan"]["_target_"]),
        settings,
        data,
        _records(run, generator),
        list(files),
        config.license,
    ).encode()
    _write(files, generator, config, target)
    left_out = [name for name in KINDS if name not in wanted]
    if config.formats is None and left_out:
        missing = ", ".join(str(KINDS[name].missing) for name in left_out)
        output().print(
            f"without {', '.join(left_out)}, which needs {missing}:"
            " pip install 'saddlepoint\\[export]'",
            soft_wrap=True,
        )
    return target


def _refuse_others(generator: TrainedGenerator, run: TrainedRun) -> None:
    if generator.prior is None:
        raise UserError(
            f"The generator of {run.folder} is fed images, or latents of a distribution of its own,"
            " and what is exported is fed latents of a named one: use it by saddlepoint.load(run),"
            " or write its samples with python sample.py what=images."
        )


def _records(run: TrainedRun, generator: TrainedGenerator) -> list[dict[str, Any]]:
    """The last record of this generator under each protocol."""
    mine = [r for r in read_records(run.records) if r["iteration"] == generator.about["iteration"]]
    return list({record["fingerprint"]: record for record in mine}.values())


def _write(
    files: dict[str, bytes], generator: TrainedGenerator, config: DictConfig, target: Path
) -> None:
    """Put everything into a folder beside the place, and then there."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            for name, content in files.items():
                (made / name).write_bytes(content)
            classes = len(generator.classes)
            asked = {"classes": [k % classes for k in range(config.images)]} if classes else {}
            save(generator.grid(config.images, config.seed, **asked), made / PICTURE)
            made.chmod(0o755)
            if target.exists():
                shutil.rmtree(target)
            made.rename(target)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise UnwritableError(target, error) from error


def run(config: DictConfig) -> None:
    """Export one generator and say where it lies."""
    print(export(config))
