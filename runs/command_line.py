"""From the shell to a command and back: one sentence and exit code 2 for what a user can mend."""

import contextlib
import errno
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from saddlepoint.errors import UserError, one_line_on_ctrl_c
from saddlepoint.records.settings import flat

CONF = Path(__file__).resolve().parent.parent / "conf"

LIGHTNING = "lightning_fabric.utilities.exceptions"

# A preset in conf/hydra has the name of the plugin that it sets, which Hydra remarks on.
warnings.filterwarnings("ignore", message=r"\s*'hydra/\w+/\w+' is validated against ConfigStore")


@contextlib.contextmanager
def mistakes() -> Iterator[None]:
    """End with exit code 2 and one sentence on stderr on what the user can mend; 130 on Ctrl-C.

    ``debug=true`` on the command line shows the traceback as well.
    """
    try:
        with one_line_on_ctrl_c():
            yield
    except Exception as error:
        sentence = user_sentence(error)
        if sentence is None:
            raise
        if "debug=true" in (argument.lower() for argument in sys.argv):
            traceback.print_exc()
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(2)


def causes(error: BaseException) -> list[BaseException]:
    """An error, what led to it, what led to that, and so on."""
    chain = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


def user_sentence(error: BaseException) -> str | None:
    """Return what to tell the user, or None if the error is not theirs to mend."""
    chain = causes(error)
    for link in chain:
        if isinstance(link, UserError):
            return " ".join(str(link).split())
        if isinstance(link, OSError) and link.errno == errno.ENOSPC:
            where = link.filename or "while writing"
            return f"The disk is full ({where}): free some space and resume."
        if isinstance(link, out_of_memory()):
            return "The memory is not enough: lower batch_size, or the widths of the networks."
    for link in chain:
        if isinstance(link, _of_library(LIGHTNING, "MisconfigurationException")):
            return f"The trainer cannot start: {' '.join(str(link).split())}"
    for link in chain:
        if isinstance(link, HydraException | OmegaConfBaseException | yaml.YAMLError):
            return _config_sentence(str(link))
    return None


def out_of_memory() -> tuple[type[BaseException], ...]:
    """What is raised where memory does not suffice."""
    return MemoryError, *_of_library("torch", "OutOfMemoryError")


def _of_library(module: str, name: str) -> tuple[type[BaseException], ...]:
    """An exception of a library; none where it is not imported, and cannot have been raised."""
    found = getattr(sys.modules.get(module), name, None)
    return () if found is None else (found,)


def _config_sentence(message: str) -> str:
    """Name what is misspelt and the nearest right spelling, from a message of Hydra."""
    if choice := re.search(r"Could not (?:find|load) '([\w/]+)/([^'/]+)'", message):
        group, name = choice.groups()
        options = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        return (
            f"'{name}' is no choice of {group}"
            f"{did_you_mean(get_close_matches(name, options, n=1)).rstrip('.')}"
            f" (choices: {', '.join(options)})."
        )
    if key := re.search(r"Could not override '([^']+)'", message):
        name = key.group(1).split("@")[0]
        near = nearest_settings(name, known_settings(command_of_script()))
        return f"'{name}' is no setting{did_you_mean(near)}"
    return f"The settings do not fit together: {' '.join(message.split())}"


def did_you_mean(names: list[str]) -> str:
    """The end of a sentence on a name that is none."""
    alternatives = " or ".join(f"'{name}'" for name in names)
    return f"; did you mean {alternatives}?" if names else "."


#: What the field, or another program, calls a setting.
SYNONYMS = {
    "gan": ("model", "arch", "algorithm"),
    "datamodule": ("data", "dataset", "data_set"),
    "datamodule.resolution": ("image_size", "img_size", "imsize"),
    "datamodule.num_workers": ("workers", "n_workers"),
    "network": ("net", "networks", "architecture", "backbone"),
    "network.generator.latent_dim": ("nz", "z_dim", "dim_z", "latent_size", "noise_dim"),
    "network.generator.width": ("ngf", "channels", "gen_width"),
    "network.discriminator.width": ("ndf", "disc_width"),
    "gan.n_dis": ("n_critic", "d_steps", "disc_iters", "num_d_steps"),
    "gan.generator_optimizer.lr": ("learning_rate", "g_lr", "lr_g"),
    "gan.discriminator_optimizer.lr": ("d_lr", "lr_d"),
    "gan.generator_optimizer.betas": ("beta1", "beta2", "beta", "adam_betas"),
    "gan.ema_half_life_kimg": ("ema", "ema_decay", "ema_beta"),
    "gan.lr_schedule": ("scheduler", "lr_scheduler", "lr_decay"),
    "gan.precision": ("amp", "fp16", "bf16", "mixed_precision"),
    "batch_size": ("batch", "bs", "batchsize", "minibatch"),
    "iterations": ("steps", "iters", "max_steps", "max_iter", "epochs", "max_epochs", "kimg"),
    "monitor": ("metric", "metrics", "fid"),
    "protocol": ("evaluation", "score", "scores"),
    "terms": ("term", "regularizer", "regularisers", "regularizers"),
    "loss": ("gan_loss", "loss_type", "adversarial"),
    "trainer": ("device", "gpu", "accelerator"),
    "trainer.devices": ("gpus", "n_gpus", "num_gpus"),
    "output_dir": ("out", "outdir", "out_dir", "log_dir", "logdir", "save_dir"),
    "data_dir": ("root", "data_path", "data_root", "datadir"),
    "run_name": ("name", "exp_name", "experiment_name"),
    "ckpt": ("resume", "checkpoint", "ckpt_path", "resume_from", "restore"),
    "checkpoint_every": ("save_every", "save_freq", "save_interval", "snap"),
    "sample_every": ("sample_freq", "sample_interval"),
    "score_every": ("eval_every", "eval_freq", "eval_interval"),
    "logger": ("log", "loggers", "wandb", "tensorboard"),
    "seed": ("random_seed", "manual_seed", "rng"),
    "what": ("kind", "picture", "panel"),
    "run": ("model_path", "folder"),
    "images": ("num", "num_images", "n"),
}


def nearest_settings(name: str, names: list[str]) -> list[str]:
    """Settings that were meant by a name that is none; none where nothing is near.

    What counts is the last part: ``lr`` is the learning rate of all optimisers; then what others
    call a setting; and only then the spelling.
    """
    first, last = name.split(".")[0], name.split(".")[-1]
    same = [known for known in names if "." in known and known.split(".")[-1] == last]
    same = same or [known for known in names if last.lower() in SYNONYMS.get(known, ())]
    # Those of the group that was named, if any, and of those that a run mentions last.
    group = [known for known in same if known.split(".")[0] == first]
    if same:
        return sorted(group or same, key=lambda known: ("generator" not in known, known))[:3]
    if near := get_close_matches(name, names, n=1, cutoff=0.75):
        return near
    parts = {known.split(".")[-1]: known for known in reversed(names)}
    return [parts[part] for part in get_close_matches(last, parts, n=1, cutoff=0.8)]


def command_of_script() -> str:
    """The command that this process runs, by the name of its script."""
    script = Path(sys.argv[0]).stem
    return script if (CONF / f"{script}.yaml").exists() else "train"


def known_settings(config_name: str = "train") -> list[str]:
    """Every group, and every dotted key of the default configuration."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(config_name)
    groups = [path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"]
    groups = groups if config_name == "train" else []
    return sorted({*groups, *config, *flat(OmegaConf.to_container(config))})
