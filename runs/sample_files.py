"""The samples of a trained generator as files that any program reads: a folder of PNGs, or a zip.

Image i is a function of the seed and of i alone, whatever comes before it: they are drawn in blocks
of fixed size. So a command that was cut off goes on where it was, and several processes write what
one would.
"""

import contextlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from saddlepoint.atomic import UnwritableError, whole_file, write_text
from saddlepoint.datamodules.archive import LABEL_FILE
from saddlepoint.errors import UserError
from saddlepoint.evaluation.ranks import share
from saddlepoint.ranks import rank_and_count
from saddlepoint.runs.content_hash import sha256_of
from saddlepoint.runs.panels.panel import BATCH, Subject
from saddlepoint.runs.pictures import to_uint8
from saddlepoint.runs.progress import progress

ZIP = ".zip"
ABOUT = "images.json"  # which generator the images are of
WHOLE = b"IEND\xaeB`\x82"  # the last bytes of every PNG


def write_samples(subject: Subject, output: Path) -> Path:
    """Write ``config.num`` samples, those that are there already excepted; return where they lie.

    ``{position:07d}.png``, and where they have classes ``dataset.json`` with ``labels``, as
    StyleGAN's tools and `datamodules.folder` read it. A zip appears once it is complete.

    Raises:
        UserError: the run has points, the place holds something else, or the disk is full.
    """
    count, shape = subject.config.num, subject.game.sampled().shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise UserError(
            "what=images writes PNGs, which take one or three channels, and this run's samples have"
            f" the shape {tuple(shape)}: take them from saddlepoint.load(run).sample(n)."
        )
    about = _about(subject)
    with _several_processes():
        rank, _ = rank_and_count()
        if output.suffix.lower() == ZIP:
            if output.exists():
                _refuse_other_zip(output, about, count)
                return output
            folder = output.with_name(f".{output.stem}.partial")
        else:
            folder = output
        if rank == 0:
            _take(folder, about, count)
        _wait_for_all()
        _draw(subject, folder, count)
        _wait_for_all()
        if rank == 0:
            _write_labels(subject, folder, count)
            if folder != output:
                _pack(folder, output)
        _wait_for_all()
    return output


def _draw(subject: Subject, folder: Path, count: int) -> None:
    """Draw what is missing of this process's part."""
    mine = share(count, BATCH)
    with progress() as tell:
        for start in range(mine.start, mine.stop, BATCH):
            paths = [_path(folder, k) for k in range(start, min(start + BATCH, mine.stop))]
            if not all(map(_is_whole, paths)):
                # The last block is drawn whole, too: rounding hangs on how many there are.
                images = to_uint8(subject.drawn(range(start, start + BATCH))).cpu()
                for path, image in zip(paths, images, strict=False):
                    _write(path, image)
            tell("images", start + len(paths) - mine.start, len(mine))


def _path(folder: Path, position: int) -> Path:
    return folder / f"{position:07d}.png"


def _write(path: Path, image: Tensor) -> None:
    stream = io.BytesIO()
    pixels = image.squeeze(0) if len(image) == 1 else image.permute(1, 2, 0)
    Image.fromarray(pixels.numpy()).save(stream, format="PNG", compress_level=1)
    try:
        path.write_bytes(stream.getvalue())
    except OSError as error:
        raise UnwritableError(path, error, "; the same command goes on") from error


def _is_whole(path: Path) -> bool:
    """Whether a PNG is there to its last byte."""
    try:
        with path.open("rb") as file:
            file.seek(-len(WHOLE), io.SEEK_END)
            return file.read() == WHOLE
    except OSError:  # none is there, or one with fewer bytes
        return False


def _about(subject: Subject) -> dict[str, Any]:
    """What tells one generator's images from another's."""
    game, run = subject.game, subject.run
    fed = {"inputs": subject.data.spec.digest} if game.needs_data else {}
    return {
        "run": run.about(game)["title"],
        "iteration": game.iteration,
        "seed": subject.config.seed,
        "weights": sha256_of(dict(game.sampled().state_dict())),
        **fed,
    }


def _take(folder: Path, about: dict[str, Any], count: int) -> None:
    """Make the folder, or go on with one that holds images of the same generator.

    Raises:
        UserError: it holds something else, or more images than are asked for.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose another output=.")
    file = folder / ABOUT
    if not file.is_file():
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder} holds other files: choose another output=.")
        write_text(file, json.dumps(about, indent=2) + "\n")
        return
    _refuse_others(folder, file.read_text(), about)
    there = sum(1 for _ in folder.glob("*.png"))
    if there > count:
        raise UserError(
            f"{folder} holds {there:,} images by now, and {count:,} are asked for: choose another"
            " output=."
        )


def _refuse_others(place: Path, found: str, about: dict[str, Any]) -> None:
    try:
        other = json.loads(found)
    except ValueError:
        other = None
    if other != about:
        raise UserError(
            f"{place} holds images of another generator, or of another seed: choose another"
            " output=."
        )


def _refuse_other_zip(path: Path, about: dict[str, Any], count: int) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.read(ABOUT).decode()
            there = sum(name.endswith(".png") for name in archive.namelist())
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile):
        found, there = "", 0
    _refuse_others(path, found, about)
    if there != count:
        raise UserError(f"{path} holds {there:,} images and is complete: choose another output=.")


def _write_labels(subject: Subject, folder: Path, count: int) -> None:
    """The classes that the images were asked for, where there are some."""
    game = subject.game
    if game.condition is None or game.condition.kind != "classes":
        return
    asked = game.task.asked_as
    parts = [subject.inputs(min(BATCH, count - k), k)[asked] for k in range(0, count, BATCH)]
    labels = torch.cat(parts).tolist()
    named = [[_path(folder, k).name, label] for k, label in enumerate(labels)]
    write_text(folder / LABEL_FILE, json.dumps({"labels": named}))


def _pack(folder: Path, output: Path) -> None:
    """Make a zip of the folder, whole or not at all, and remove the folder."""
    with whole_file(output) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    shutil.rmtree(folder)


@contextlib.contextmanager
def _several_processes() -> Iterator[None]:
    """Let the processes that torchrun has started know of each other."""
    if not torch.distributed.is_available() or not torch.distributed.is_torchelastic_launched():
        yield
        return
    torch.distributed.init_process_group("gloo")
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def _wait_for_all() -> None:
    if rank_and_count()[1] > 1:
        torch.distributed.barrier()
