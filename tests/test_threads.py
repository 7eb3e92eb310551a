"""Runs side by side share the cores; what is resumed keeps its number of threads."""

import os
import random
import signal
import time

import pytest
import torch
from train_cli import QUICK, train_here

from saddlepoint.runs import checkpoint_file, threads
from saddlepoint.runs.threads import quotas, share_of_the_cores


@pytest.fixture
def eight_cores(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "cores_allowed", lambda: 8)
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(1)


@pytest.fixture
def others():
    """Start another process that is counted; those left are killed at the end."""
    alive = []

    def start():
        ready, said = os.pipe()
        alive.append(os.fork())
        if not alive[-1]:
            with threads.share_of_the_cores():
                os.write(said, b"counted")
                time.sleep(60)
                os._exit(0)
        assert os.read(ready, 7) == b"counted"
        return alive[-1]

    def end(process, number=signal.SIGKILL):
        alive.remove(process)
        os.kill(process, number)
        os.waitpid(process, 0)

    start.alive, start.end = alive, end
    yield start
    for process in list(alive):
        end(process)


def test_runs_come_and_are_killed_in_any_order(eight_cores, others, caplog):
    rng, tried, held = random.Random(5), 0, 0
    for _ in range(30):
        if len(others.alive) > 6 or (others.alive and rng.random() < 0.5):
            others.end(rng.choice(others.alive), rng.choice([signal.SIGKILL, signal.SIGTERM]))
        else:
            others()
        with share_of_the_cores():
            held += torch.get_num_threads() == 8 // (1 + len(others.alive))
        tried += 1
    print(f"runs counted: {tried} tried, {held} held")
    assert held == tried
    assert "1 other of your runs is going on here: this one takes 4 of 8 cores" in caplog.text
    for process in list(others.alive):
        others.end(process)
    with share_of_the_cores():
        assert torch.get_num_threads() == 8
    assert len(list(threads.folder().iterdir())) == 1  # the lock: nobody else is left


@pytest.mark.parametrize(
    ("before", "processes", "expected"),
    [(None, 1, 8), (None, 3, 2), (5, 1, 5), (5, 2, 4), (99, 1, 8)],
)
def test_number_of_threads(before, processes, expected, eight_cores, caplog):
    with share_of_the_cores(before, processes):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 8
    warned = f"begun with {before} threads and goes on with {expected}" in caplog.text
    assert warned == (before not in (None, expected))


def test_what_a_user_says_holds(eight_cores, monkeypatch, caplog):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(3)  # as torch does when it starts
    with share_of_the_cores(5):
        assert torch.get_num_threads() == 3
    assert "OMP_NUM_THREADS=5 keeps them" in caplog.text


def test_a_folder_that_cannot_be_had_is_no_hindrance(eight_cores, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    with share_of_the_cores():
        assert torch.get_num_threads() == 8


def test_quotas_of_control_groups(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "cgroup").write_text("1:cpu:/x\n0::/a/b\n")
    (tmp_path / "a" / "b" / "cpu.max").write_text("max 100000\n")
    (tmp_path / "a" / "cpu.max").write_text("250000 100000\n")
    assert list(quotas(tmp_path, tmp_path / "cgroup")) == [2]
    assert list(quotas(tmp_path, tmp_path / "none")) == []


def test_a_resumed_run_takes_up_its_number_of_threads(eight_cores, others, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "saddlepoint.gans.Game.on_train_end", lambda game: seen.append(torch.get_num_threads())
    )
    monkeypatch.setattr(threads, "cores_allowed", lambda: 3)
    train_here([*QUICK, "iterations=2", f"output_dir={tmp_path}", "run_name=run"])
    assert checkpoint_file.load(tmp_path / "run")["threads"] == 3
    others()
    train_here([f"ckpt={tmp_path}/run", "iterations=3", "allow_changes=true"])
    train_here([*QUICK, "iterations=2", f"output_dir={tmp_path}"])
    assert seen == [3, 3, 1]
