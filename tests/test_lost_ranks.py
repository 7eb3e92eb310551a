"""Signals to one of two processes: the run stops as one, and who is lost is named last."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from train_cli import finish, start

from saddlepoint.runs import checkpoint_file

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
