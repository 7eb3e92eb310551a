"""Processes that cannot find each other are refused in a sentence, before anything is written."""

import signal
import subprocess
from types import SimpleNamespace

import pytest
from hydra.types import RunMode
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment
from train_cli import QUICK, command, train_here

from saddlepoint.errors import UserError
from saddlepoint.records import ending
from saddlepoint.runs import checkpoint_file, processes
from saddlepoint.runs.callbacks.last_checkpoint import hand_over
from saddlepoint.runs.processes import environment_plugins

TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
#: Variables of a process as srun and as torchrun start it.
STEP = {
    f"SLURM_{name}": value
    for name, value in [
        *(("NTASKS", "2"), ("NTASKS_PER_NODE", "2"), ("STEP_ID", "0"), ("JOB_ID", "1")),
        *(("PROCID", "0"), ("LOCALID", "0"), ("NODEID", "0"), ("JOB_NAME", "job")),
    ]
}
RANKS = {"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}
TORCHRUN = {**RANKS, "TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"}


@pytest.mark.parametrize(
    ("words", "variables", "sentence"),
    [
        (["trainer=cpu", "trainer.devices=2"], {}, "gradients averaged player by player: add"),
        ([*TWO, "trainer.num_nodes=2"], {}, "Nobody starts processes on the 2 machines"),
        (["trainer=cpu"], STEP, "SLURM has started 2 processes, and the run takes 1: let"),
        (TWO, TORCHRUN, "torchrun has started 4 processes, and the run takes 2: let"),
    ],
)
def test_misfits(words, variables, sentence, tmp_path, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=sentence):
        train_here([*QUICK, *words, f"output_dir={tmp_path}/outputs"])
    assert not list(tmp_path.iterdir())


def test_slurm_is_asked_for_processes_of_srun_and_never_requeues_by_itself(monkeypatch):
    assert environment_plugins() == []
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    (environment,) = environment_plugins()
    assert isinstance(environment, SLURMEnvironment) and not environment.auto_requeue
    monkeypatch.delenv("SLURM_STEP_ID")  # in the batch script itself
    (environment,) = environment_plugins()
    assert isinstance(environment, LightningEnvironment)


@pytest.mark.parametrize(
    ("launcher", "variables", "sentence"),
    [
        ("joblib", {}, "inside a worker of hydra/launcher=joblib: leave"),
        ("submitit_local", {}, "inside a worker of hydra/launcher=submitit_local: leave"),
        ("basic", TORCHRUN | {"WORLD_SIZE": "2"}, "in processes that torchrun has started"),
    ],
)
def test_sweeps_whose_points_cannot_have_several_processes(
    launcher, variables, sentence, tmp_path, monkeypatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    runtime = SimpleNamespace(choices={"hydra/launcher": launcher})
    sweep = SimpleNamespace(mode=RunMode.MULTIRUN, runtime=runtime)
    monkeypatch.setattr(processes.HydraConfig, "get", lambda: sweep)
    monkeypatch.setattr(processes.HydraConfig, "initialized", lambda: True)
    with pytest.raises(UserError, match=sentence):
        train_here([*QUICK, *TWO, f"output_dir={tmp_path}/outputs"])


def test_a_notice_is_handed_to_who_listened_before_the_run():
    heard = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    try:
        for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGTERM):
            hand_over(number)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR2]


def test_a_requeue_that_ends_who_asked_for_it_is_no_failure():
    def requeue(number, frame):
        subprocess.run(["sh", "-c", f"kill -{sent} $$"], check=True)

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        sent = "TERM"
        with pytest.raises(SystemExit):
            hand_over(signal.SIGUSR2)
        sent = "KILL"
        with pytest.raises(subprocess.CalledProcessError):
            hand_over(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_the_same_command_begins_goes_on_and_is_done(tmp_path, capfd):
    words = [*QUICK, "ckpt=auto", "run_name=run", f"output_dir={tmp_path}", "trainer=cpu"]
    assert command([*words, "iterations=4"]) == 0
    folder = tmp_path / "run"
    assert checkpoint_file.load(folder)["game"]["iteration"] == 4
    assert command([*words, "iterations=4"]) == 0
    assert "finished before" in capfd.readouterr().out
    ending.forget(folder)  # as if it had been killed
    assert command([*words, "iterations=6"]) == 2
    assert "iterations (4 -> 6)" in capfd.readouterr().err
    assert command([*words, "iterations=6", "allow_changes=true"]) == 0
    assert checkpoint_file.load(folder)["game"]["iteration"] == 6


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(tmp_path):
    (tmp_path / "run").mkdir()
    words = [*QUICK, "ckpt=auto", "run_name=run", f"output_dir={tmp_path}"]
    assert command([*words, "iterations=2"]) == 0
    assert checkpoint_file.load(tmp_path / "run")["game"]["iteration"] == 2


def test_without_a_name_there_is_nothing_to_find(tmp_path, capfd):
    assert command([*QUICK, "ckpt=auto", f"output_dir={tmp_path}"]) == 2
    assert "give it run_name=" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
