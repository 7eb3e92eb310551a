"""Helpers to train from settings in a test, in this process or in one of its own."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from saddlepoint.runs import train

ROOT = Path(__file__).resolve().parent.parent
#: A game that takes moments: tiny networks, few small batches, no scores.
QUICK = [
    "network.generator.width=16",
    "network.discriminator.width=16",
    "batch_size=8",
    "iterations=6",
    "sample_every=1000",
    "checkpoint_every=2",
    "monitor=none",
    "protocol=none",
    "trainer=cpu",
]


def composed(overrides, config_name="train"):
    GlobalHydra.instance().clear()
    initialize_config_dir(str(ROOT / "conf"), version_base="1.3")
    return compose(config_name, overrides=list(overrides))


def networks_fed_with_latents():
    """Choices of network= whose generator draws from latents, not from images."""
    choices = sorted(path.stem for path in (ROOT / "conf" / "network").glob("*.yaml"))
    return [
        choice
        for choice in choices
        if "latent_dim" in composed([f"network={choice}"]).network.generator
    ]


def train_here(overrides):
    """Train in this process; returns what `train.train` does."""
    overrides = list(overrides)
    return train.train(composed(overrides), overrides)


def command(words, script="train.py"):
    """Run a command in this process, as the shell would; returns its exit code."""
    GlobalHydra.instance().clear()
    with mock.patch.object(sys, "argv", [script, *words]):
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except SystemExit as stop:
            return stop.code or 0
    return 0


def start(overrides, script="train.py", by=(), path=None, environment=None, **options):
    """Start a command in a process, ``by`` another command, with a folder more to import from."""
    environment = {**(environment or os.environ), "OMP_NUM_THREADS": "1"}
    environment.pop("HYDRA_FULL_ERROR", None)  # a user has not set it
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, *by, str(ROOT / script), *overrides],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process):
    """Wait for a command; returns its exit code, output and errors."""
    output, errors = process.communicate(timeout=240)
    return process.returncode, output, errors


def equal(a, b):
    """Whether two nested structures of tensors and plain values are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b
