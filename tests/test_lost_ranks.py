"""Signals to one of two processes: the run stops as one, and who is lost is named last."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from pytorch_lightning import Callback
from train_cli import ROOT, finish, start

from saddlepoint.runs import checkpoint_file
from saddlepoint.runs.sweeps.folder import Sweep

GAME = [
    *("datamodule=gaussians8", "network=mlp", "gan=sngan", "batch_size=16", "monitor=none"),
    *("iterations=1000000", "checkpoint_every=10", "sample_every=1000000", "gan.log_every=2"),
    *("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "run_name=run"),
]


def other_of(process):
    """The process of rank 1."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not say which processes a process has started")
    for child in map(int, children.read_text().split()):
        if b"train.py" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    raise AssertionError("there is one process")


@pytest.mark.parametrize(
    ("rank", "number"),
    [
        (rank, number)
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP)
        for rank in (0, 1)
    ],
    ids=lambda value: getattr(value, "name", f"rank {value}"),
)
def test_a_signal_to_one_of_two_processes(rank, number, tmp_path):
    is_frozen = number == signal.SIGSTOP
    patience = ["trainer.strategy.timeout_s=8"] if is_frozen else []
    process = start([*GAME, *patience, f"output_dir={tmp_path}"])
    while not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    other = other_of(process)
    os.kill(other if rank else process.pid, number)
    code, output, errors = finish(process)
    assert checkpoint_file.load(tmp_path / "run")["game"]["iteration"] > 0
    if number == signal.SIGTERM:
        assert code == 128 + number and "Traceback" not in errors
        assert "stopped by SIGTERM" in output
        assert f"go on with: python train.py ckpt={tmp_path}/run" in output
        return
    assert code == (1 if rank else -signal.SIGKILL)
    how = "was ended by SIGKILL" if rank else "vanished"
    if is_frozen:
        how = "was silent for 8 s"
    last = errors.strip().splitlines()[-1]
    assert re.fullmatch(rf"error: rank {rank} of 2 {how}.*train.py ckpt={tmp_path}/run", last)
    with pytest.raises((OSError, IndexError)):  # nobody is left, at most a zombie
        os.kill(other, 0)
        Path(f"/proc/{other}/environ").read_bytes()[0]


class Spoil(Callback):
    """Lets the run of seed 1 diverge in the process of rank 1."""

    def on_train_batch_start(self, trainer, game, batch, _):
        if game.seed == 1 and trainer.global_rank == 1 and game.iteration == 2:
            batch["reals"].image.fill_(float("nan"))


def test_a_point_that_fails_in_one_of_two_processes_is_one_point(tmp_path):
    words = [word for word in GAME if not word.startswith(("iterations", "run_name"))]
    spoil = "+callbacks.spoil._target_=test_lost_ranks.Spoil"
    words += ["iterations=4", "gan.log_every=1", spoil, f"output_dir={tmp_path}", "sweep_name=s"]
    code, _, errors = finish(start(["-m", "seed=0,1,2", *words], path=ROOT / "tests"))
    assert code == 1, errors
    states = {point.name: point.state for point in Sweep(tmp_path / "sweeps" / "s").points()}
    assert states == {"seed-0": "finished", "seed-1": "failed", "seed-2": "finished"}
    assert "1 of 3 points failed:" in errors
