"""What the commands take at the top of their settings, and the check of all settings at once."""

import functools
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Len
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from saddlepoint import schema
from saddlepoint.errors import UserError
from saddlepoint.extractors.training_options import TrainingOptions
from saddlepoint.schema import Count, Images, Natural, Positive, Size

Node = schema.Node
Group = dict[str, Any]  # settings of an object, or empty for none
Parts = dict[str, Node | None]  # objects by name


@dataclass
class RunSettings:
    """What `train.py` takes.

    Attributes:
        gan: the method.
        datamodule: the data.
        network: networks by name.
        loss: the adversarial loss; empty for the method's own.
        condition: what is asked of a generation; empty for nothing.
        terms: what stacks on the method, by name: terms=[rotation].
        trainer: the trainer of Lightning.
        logger: besides metrics.csv, by name.
        callbacks: what else happens in a run, by name, in order.
        monitor: protocol of the scores while training.
        protocol: full protocol of the best and the last generator.
        stages: what is made before training, by name.
        method: name of the method in tables; the gan sets it.
        seed: key of all randomness: weights, latents, labels, order of the data.
        iterations: generator updates.
        batch_size: images per update, over all devices.
        sample_every: iterations between pictures of fixed samples.
        score_every: iterations between scores.
        checkpoint_every: iterations between checkpoints.
        keep_best: checkpoints kept for their scores while training, besides the last.
        data_dir: where data sets lie, or are downloaded to.
        output_dir: gets one folder a run.
        run_name: of that folder; null: data, method, terms, seed and time.
        sweep_name: of a sweep's folder; null: by the words of its command.
        ckpt: a checkpoint or run folder to resume; last: the newest run; auto: the run of run_name
            where it has begun, else it begins.
        trust: packages whose classes the settings of a checkpoint may name, see `runs.trust`.
        allow_changes: resume although settings that alter training differ.
        debug: show tracebacks of user errors.
    """

    gan: Node
    datamodule: Node
    network: Parts
    trainer: Node
    monitor: Node
    protocol: Node
    method: str
    loss: Group | None = None
    condition: Group | None = None
    terms: Parts | None = None
    logger: Parts | None = None
    callbacks: Parts | None = None
    stages: Parts | None = None
    seed: Natural = 0
    iterations: Count = 100_000
    batch_size: Images = 64
    sample_every: Count = 1000
    score_every: Count = 5000
    checkpoint_every: Count = 1000
    keep_best: Natural = 1
    data_dir: str = "data"
    output_dir: str = "outputs"
    run_name: str | int | None = None
    sweep_name: str | int | None = None
    ckpt: str | None = None
    trust: Sequence[str] = ()
    allow_changes: bool = False
    debug: bool = False


@dataclass
class EvaluateSettings:
    """What `evaluate.py` takes.

    Attributes:
        protocol: what to score under; null: the run's own, all_images for images.
        datamodule: the real images that images= are scored against; a run has its own.
        run: folder of a run, a checkpoint, or last: the newest run.
        trust: packages whose classes the run's settings may name, see `runs.trust`.
        images: folder or zip of images that any program made.
        reference: folder or zip of real images, in place of datamodule=.
        title: what leaderboards call the images; null: the name of the folder.
        also_raw: score the trained weights as well, where a run samples their average.
        shots: numbers of examples that a few-shot run is scored with; []: its own.
        data_dir: where data sets lie; null: where the run found them, else data.
        output_dir: gets evaluations/{title}/records.jsonl.
        device: what computes.
        debug: show tracebacks of user errors.
    """

    protocol: Node | None = None
    datamodule: Node | None = None
    run: str | None = None
    trust: Sequence[str] = ()
    images: str | None = None
    reference: str | None = None
    title: str | None = None
    also_raw: bool = False
    shots: Sequence[Count] = ()
    data_dir: str | None = None
    output_dir: str = "outputs"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    debug: bool = False


@dataclass
class SampleSettings:
    """What `sample.py` takes.

    Attributes:
        run: a run folder or a checkpoint; last: the newest run.
        trust: packages whose classes the run's settings may name, see `runs.trust`.
        what: the picture; images: num samples one by one.
        output: PNG (GIF of training; folder or zip of images) to write; null: in the run folder,
            by the name of what.
        output_dir: where run=last looks.
        seed: key of the samples.
        images: samples of a grid.
        num: samples that what=images writes.
        rows: pairs to interpolate, conditions, samples with neighbours, images to change.
        columns: steps of an interpolation, samples of each bound, class or condition.
        truncations: bounds on latents, in their standard deviations.
        cluster: that all conditions ask for; null: each condition, or drawn ones.
        image: a picture of your own to edit or translate; or a folder or zip of them.
        shots: a folder or zip of pictures of what it shall become.
        attribute: what is changed in it, or the class that it becomes.
        value: true puts the attribute on, false takes it off; null: the other than it seems to be.
        has: attributes, or the class, that the picture has; null: what the discriminator sees.
        box: left, top, right and bottom edge of the hole, in pixels of the run's images; null: the
            mean of the data's.
        data_dir: where the run's data lie now; null: where the run found them.
        extractor: of the features; null: what suits the data and needs no download.
        weights: file with the extractor's weights; null: look for them.
        num_real: real images; null: all.
        num_fake: samples; null: as many as the picture needs.
        neighbours: training images beside each sample or condition.
        closest: show those of the samples that come closest to a training image.
        points: numbers of samples between a few and num_fake.
        debug: show tracebacks of user errors.
    """

    run: str = "last"
    trust: Sequence[str] = ()
    what: Literal[
        *("grid", "interpolation", "truncation", "classes", "attributes", "edit"),
        *("target_classes", "translate", "density", "conditions", "neighbours", "spectrum"),
        *("sample_size", "training", "images"),
    ] = "grid"
    output: str | None = None
    output_dir: str = "outputs"
    seed: Natural = 0
    images: Images = 64
    num: Images = 50_000
    rows: Size = 8
    columns: Size = 10
    truncations: list[Positive] = None
    cluster: Natural | None = None
    image: str | None = None
    shots: str | None = None
    attribute: str | None = None
    value: bool | None = None
    has: Sequence[str] | None = None
    box: Annotated[Sequence[float], Len(4, 4)] | None = None
    data_dir: str | None = None
    extractor: str | None = None
    weights: str | None = None
    num_real: Count | None = None
    num_fake: Count | None = None
    neighbours: Size = 5
    closest: bool = False
    points: Size = 15
    debug: bool = False


@dataclass
class ExportSettings:
    """What `export.py` takes.

    Attributes:
        run: a run folder or a checkpoint; last: the newest run.
        trust: packages whose classes the run's settings may name, see `runs.trust`.
        formats: programs beside the weights; null: all that the packages here can write.
        output: folder to write; null: {run folder}/export.
        license: of the weights, by its name on the hub.
        images: samples in the card's picture.
        seed: key of these samples.
        output_dir: where run=last looks.
        debug: show tracebacks of user errors.
    """

    run: str = "last"
    trust: Sequence[str] = ()
    formats: Sequence[Literal["torchscript", "pt2", "onnx"]] | None = None
    output: str | None = None
    license: str | None = None
    images: Images = 64
    seed: Natural = 0
    output_dir: str = "outputs"
    debug: bool = False


@dataclass(frozen=True, kw_only=True)
class ExtractorSettings(TrainingOptions):
    """What `train_extractor.py` takes.

    Attributes:
        datamodule: the labelled images.
        output: file to write; null: classifiers/{data}.pt.
        data_dir: where data sets lie.
        debug: show tracebacks of user errors.
    """

    datamodule: Node
    output: str | None = None
    data_dir: str = "data"
    debug: bool = False


#: What each command takes at the top, by the name of its configuration.
COMMANDS = {
    "train": RunSettings,
    "evaluate": EvaluateSettings,
    "sample": SampleSettings,
    "export": ExportSettings,
    "train_extractor": ExtractorSettings,
}


def known_before(config: DictConfig) -> DictConfig:
    """What means something before a run is found that the other settings come on top of."""
    if config.get("ckpt") is None:
        return config
    return OmegaConf.masked_copy(config, ["ckpt", "trust", "output_dir", "allow_changes"])


def check_settings(config: DictConfig, command: str, imports: bool = True) -> None:
    """Hold all settings of a command against what takes them, before anything is done with them.

    Args:
        config: composed settings.
        command: name of its configuration, see `COMMANDS`.
        imports: whether what takes them is imported, which takes seconds; else its source is read,
            and what optimisers and the trainer would say is left for later.

    Raises:
        UserError: on the first that is wrong.
    """
    for sentence in problems(config, command, imports):
        raise UserError(sentence)


def check_terms(config: DictConfig, overrides: list[str]) -> None:
    """Refuse two choices of terms that are one term by name: the last would hide the others.

    They may be typed as ``terms=[...]``, or stand in the defaults of a YAML.

    Args:
        config: composed settings.
        overrides: the command line that composes them.

    Raises:
        UserError: there are such.
    """
    if not config.terms:
        return
    loader = GlobalHydra.instance().config_loader()
    composed = loader.compute_defaults_list("train", overrides, RunMode.RUN).defaults
    # A choice that another one is made of, by its defaults, is no choice of its own.
    chosen = [
        part.config_path.removeprefix("terms/")
        for part in composed
        if (part.config_path or "").startswith("terms/")
        and not (part.parent or "").startswith("terms/")
    ]
    if len(chosen) < 2:
        return
    parsed = [OverridesParser.create().parse_override(word) for word in overrides]
    places = [p.input_line for p in parsed if p.get_key_element() == "hydra.searchpath"]
    owners: dict[str, str] = {}
    for choice in chosen:
        alone = [*places, "gan=gan", f"terms=[{choice}]"]  # a method's preset may bring its own
        for name in compose("train", overrides=alone).terms:
            if name in owners:
                raise UserError(
                    f"The terms {owners[name]} and {choice} are both called {name}, and the last"
                    " would take the place of the first: choose one of them."
                )
            owners[name] = choice


def problems(config: DictConfig, command: str, imports: bool = True) -> Iterator[str]:
    """Sentences on what is wrong with the settings of a command, see `check_settings`."""
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        yield f"The settings do not fit together: {' '.join(str(error).split())}"
        return
    yield from schema.problems(plain, owner=COMMANDS[command], imports=imports)
    if imports:
        yield from _libraries_problems(plain)


def _libraries_problems(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """What optimisers and the trainer say to their settings: their types do not show ranges."""
    import torch  # here, since help and refusals do without

    for name, value in node.items():
        if not isinstance(value, Mapping):
            continue
        target = schema.target_of(value["_target_"]) if "_target_" in value else None
        if isinstance(target, type) and issubclass(target, torch.optim.Optimizer):
            if problem := _refused(value, takes_weights=True):
                yield (
                    f"The optimiser of {prefix}{name} refuses its settings ({problem}): correct"
                    f" {prefix}{name}."
                )
        elif name == "trainer" and not prefix and (problem := _refused(_bare(value))):
            yield f"The trainer refuses its settings ({problem}): correct trainer=."
        yield from _libraries_problems(value, f"{prefix}{name}.")


def without_the_usual(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """A trainer's settings, but for ``deterministic=false`` where nothing else was ever asked for.

    torch imports its compiler to be told so, a second for nothing.
    """
    import torch

    so = trainer.get("deterministic") is False and not torch.are_deterministic_algorithms_enabled()
    return {k: v for k, v in trainer.items() if k != "deterministic" or not so}


def _bare(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """A trainer that writes nothing."""
    kept = {k: v for k, v in without_the_usual(trainer).items() if k not in ("callbacks", "logger")}
    quiet = ("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "logger")
    return {**kept, **dict.fromkeys(quiet, False)}


def _refused(node: Mapping[str, Any], takes_weights: bool = False) -> str | None:
    """What the maker of a node says against its settings."""
    return _said(json.dumps(node, default=str), takes_weights)


@functools.cache
def _said(node: str, takes_weights: bool) -> str | None:
    import torch
    from hydra.utils import instantiate

    arguments = [[torch.nn.Parameter(torch.zeros(1))]] if takes_weights else []
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            instantiate({**json.loads(node), "_partial_": True}, _convert_="all")(*arguments)
    except Exception as error:  # libraries raise what they like
        return " ".join(str(error).split()).rstrip(".") or type(error).__name__
    finally:
        log.setLevel(level)
    return None
