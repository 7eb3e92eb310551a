"""Score a checkpoint, or images of any other program, under a protocol."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hydra import compose
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich import box
from rich.table import Table

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.folder import Folder
from saddlepoint.errors import UserError
from saddlepoint.evaluation.baselines import Baseline
from saddlepoint.evaluation.evaluator import Evaluator, NoScores, Scores
from saddlepoint.evaluation.fakes import Fakes, GeneratorFakes, GivenFakes
from saddlepoint.evaluation.real_reference import REAL, real_against_real
from saddlepoint.records.origin import UNKNOWN_ORIGIN
from saddlepoint.records.record import FILE_NAME, append_record, make_record
from saddlepoint.runs.progress import output, progress
from saddlepoint.runs.settings import check_settings
from saddlepoint.runs.trained_run import TrainedRun

INCEPTION_FEATURES = 2048  # of fewer images a covariance of so many features is singular


@dataclass(frozen=True)
class Contestant:
    """What is scored.

    Attributes:
        data: the real images.
        fakes: the generated ones.
        protocol: settings of the protocol if the command line has none.
        about: of the record: run, iteration, kimg, seconds, made_by.
        records: file that gets the record.
        notes: what a user should know of the protocol, before anything is scored.
    """

    data: DataModule
    fakes: Fakes
    protocol: DictConfig
    about: dict[str, Any]
    records: Path
    notes: tuple[str, ...] = ()


def generator_of_run(config: DictConfig, device: torch.device) -> Contestant:
    """The generator of a checkpoint, with the data it was trained on."""
    run = TrainedRun.find(config.run, config.output_dir, config.trust)
    game, own = run.game(device), run.config
    data = run.data(config.data_dir)
    config.data_dir = config.data_dir or own.data_dir
    return Contestant(
        data=data,
        fakes=GeneratorFakes(game, data),
        protocol=own.protocol if _has_scores(own.protocol) else own.monitor,
        about={
            "run": run.about(game),
            "iteration": game.iteration,
            "kimg": game.kimg,
            "seconds": run.seconds,
            "made_by": run.made_by,
        },
        records=run.records,
    )


def images_of_others(config: DictConfig) -> Contestant:
    """Images in a folder or a zip, against a data set or another folder."""
    if (config.reference is None) == (config.get("datamodule") is None):
        raise UserError(
            "Images are scored against real ones: give datamodule=<data set>, or reference=<folder"
            " or zip>, and not both."
        )
    config.data_dir = config.data_dir or "data"
    images = Folder(config.images)
    if config.reference is None:
        data = instantiate(config.datamodule, _convert_="all")
    else:
        data = Folder(config.reference)
    name = config.title or images.name
    folder = Path(config.output_dir) / "evaluations" / re.sub(r"[^\w.-]", "_", name)
    spec = data.spec
    about = {"name": spec.name, "shape": list(spec.shape), "digest": spec.digest}
    protocol = compose("evaluate", overrides=["protocol=all_images"]).protocol
    notes = (
        () if config.get("protocol") else _fit(protocol, min(spec.num_items, images.spec.num_items))
    )
    return Contestant(
        data=data,
        fakes=GivenFakes(images, spec.classes),
        protocol=protocol,
        notes=notes,
        about={
            "run": {"title": name, "data": about, "images": images.spec.digest},
            "iteration": None,
            "kimg": None,
            "seconds": None,
            "made_by": UNKNOWN_ORIGIN,
        },
        records=folder / FILE_NAME,
    )


def _fit(protocol: DictConfig, fewest: int) -> tuple[str, ...]:
    """Let a protocol of all images take what there is; what is changed stands in its records.

    Args:
        protocol: all_images, which is changed.
        fewest: images on the smaller side.

    Returns:
        Sentences on it.
    """
    notes = []
    if fewest < protocol.scores.kid.subset_size:
        protocol.scores.kid.subset_size = max(2, fewest // 2)
        notes.append(
            f"KID over subsets of {protocol.scores.kid.subset_size} images: there are {fewest:,}."
        )
    if fewest < INCEPTION_FEATURES:
        notes.append(
            f"FID of {fewest:,} images is mostly their number: compare it with others of as many,"
            " or read KID, which has no such bias."
        )
    return tuple(notes)


def evaluate(config: DictConfig) -> Scores:
    """Score, record and print.

    Raises:
        UserError: nothing to score, or a score that cannot be had.
    """
    check_settings(OmegaConf.merge(config, {"data_dir": config.data_dir or "data"}), "evaluate")
    if (config.run is None) == (config.images is None):
        raise UserError("Say what to score: run=<run folder>, or images=<folder or zip>.")
    if config.also_raw and config.run is None:
        raise UserError("Images have no weights: leave also_raw= out.")
    device = _device(config.device)
    found = images_of_others(config) if config.run is None else generator_of_run(config, device)
    settings = config.protocol if config.get("protocol") else found.protocol
    for note in found.notes:
        output().print(f"note: {note}", soft_wrap=True)
    evaluator = instantiate(settings, _convert_="all")
    with progress() as tell:
        evaluator.check(found.data, fakes=found.fakes)
        evaluator = evaluator.prepare(found.data, device, fakes=found.fakes, progress=tell)
        if isinstance(evaluator, NoScores):
            raise UserError(f"{evaluator.note or 'This protocol has no score:'} set protocol=.")
        beside = real_against_real(evaluator, found.data) if REAL in evaluator.baselines else {}
        found_scores = [
            _scored(evaluator, each, beside)
            for fakes in given(found.fakes, config.shots)
            for each in _weights(fakes, config.also_raw)
        ]
    for scores in found_scores:
        # What took an hour to compute is shown whether or not there is room to record it.
        _show(scores, found.about["run"]["title"])
        parameters = getattr(found.fakes, "parameters", None)
        append_record(found.records, make_record(scores, **found.about, parameters=parameters))
    output().print(f"recorded in {found.records}", soft_wrap=True)
    return scores


def given(fakes: Fakes, shots: Sequence[int]) -> Iterator[Fakes]:
    """The same with each number of examples; as they are where none is asked for."""
    if not shots:
        yield fakes
        return
    if getattr(fakes, "shots", None) is None:
        raise UserError("What is scored is given no examples: leave shots= out.")
    for number in shots:
        fakes.game.task = fakes.game.task.with_shots(number)
        yield GeneratorFakes(fakes.game, fakes.data)


def _weights(fakes: Fakes, also_raw: bool) -> list[Fakes]:
    """The same as it is sampled; and by its trained weights, where these are others and wanted."""
    return [fakes, *filter(None, [fakes.with_other_weights])] if also_raw else [fakes]


def _scored(evaluator: Evaluator, fakes: Fakes, beside: dict[str, dict[str, float]]) -> Scores:
    """Scores, and beside those of a generator its protocol's baselines."""
    scores = evaluator.score(fakes)
    if isinstance(fakes, GeneratorFakes):
        baselines = [Baseline(name, fakes) for name in evaluator.baselines if name != REAL]
        possible = [each for each in baselines if each.is_possible]
        beside = {each.name: evaluator.score(each).means for each in possible} | beside
    return replace(scores, baselines=beside)


def _has_scores(settings: DictConfig) -> bool:
    return not isinstance(instantiate(settings, _convert_="all"), NoScores)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda is not to be had on this machine: leave device= out.")
    return torch.device(name)


def _show(scores: Scores, name: str) -> None:
    """Print the scores and what they mean."""
    protocol = scores.protocol
    console = output()
    lines = (
        f"{name}, protocol {protocol.name or protocol.fingerprint[:8]}",
        f"{protocol.num_fake:,} generated ({protocol.generator}) against {protocol.num_real:,} real"
        f" images of {protocol.dataset}, {protocol.extractor}",
        *[f"from {shots} examples" for shots in [protocol.inputs.get("shots")] if shots],
    )
    for line in lines:
        console.print(line, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("score")
    table.add_column("value", justify="right")
    if scores.by_seed:
        table.add_column("by evaluation seed", justify="right")
    for name in scores.baselines:
        table.add_column(name, justify="right")
    for score, value in scores.means.items():
        seeds = [" ".join(f"{v:.4g}" for v in scores.by_seed[score])] if scores.by_seed else []
        beside = [f"{b[score]:.5g}" if score in b else "" for b in scores.baselines.values()]
        table.add_row(score, f"{value:.5g}", *seeds, *beside)
    console.print(table)
