"""Sweeps: points that are found again, one list of them, bad ones that are one point each."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from pytorch_lightning import Callback
from pytorch_lightning.utilities import rank_zero_only
from train_cli import ROOT, command, finish, start

from saddlepoint.leaderboard import read
from saddlepoint.records import ending
from saddlepoint.records.ending import Ending
from saddlepoint.records.objective import Objective
from saddlepoint.runs import checkpoint_file, lock
from saddlepoint.runs.sweeps import ranks
from saddlepoint.runs.sweeps.folder import Sweep
from saddlepoint.runs.sweeps.names import common_words, identity, name_of, point_name

#: A game on points that takes moments, with a score every other iteration.
TINY = [
    *("datamodule=gaussians8", "datamodule.num_items=8000", "network=mlp", "gan=gan"),
    *("network.generator.width=8", "network.discriminator.width=8", "gan.n_dis=1"),
    *("batch_size=8", "iterations=6", "checkpoint_every=3", "score_every=2", "sample_every=1000"),
    *("gan.log_every=1", "trainer=cpu", "~callbacks.animation", "~callbacks.sample_grids"),
    *("monitor=points", "monitor.num_fake=500"),
]

#: Holds a point for a while.
HOLD = """
import sys, time
from pathlib import Path
from saddlepoint.runs import lock
held = lock.hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(6)
"""


def listed(folder):
    with (folder / "points.csv").open() as file:
        return {row.pop("point"): row for row in csv.DictReader(file)}


def states(folder):
    return {name: row["state"] for name, row in listed(folder).items()}


def records(folder):
    """Records of every point, without times, places and the state of the repository."""
    found = {}
    for path in sorted(folder.glob("*/records.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            for key in ("seconds", "time", "commit"):
                line.pop(key)
            for key in ("output_dir", "sweep_name"):
                line["run"]["config"].pop(key)
        found[path.parent.name] = lines
    return found


# What points are called --------------------------------------------------------------------------


def test_names_say_what_points_are():
    assert name_of(["loss=hinge", "seed=0"]) == "loss-hinge+seed-0"
    assert name_of(["gan.lr=1e+30"]) == "gan.lr-1e30"
    assert re.fullmatch(r"gan.lr-0.5-\w{8}", name_of(["gan.lr=-0.5"]))
    assert re.fullmatch(r"terms-rotation-dag-\w{8}", name_of(["terms=[rotation,dag]"]))
    assert re.fullmatch(r"seed-0-1-\w{8}", name_of(["seed=0,1"]))
    assert len(name_of([f"a.long.setting.number{i}=value" for i in range(9)])) <= 80


def test_different_points_have_different_names_which_hydra_takes_as_they_are():
    values = ["1", "-1", "1.0", "[1]", "{a: 1}", "a/b", "a-b", "'a b'", "a:b", "null", "x" * 200]
    points = [
        (f"{key}={value}", f"z={value}") for key in ("a", "a.b", "a@b", "+a") for value in values
    ]
    names = [name_of(point) for point in points]
    assert len(set(names)) == len(names)
    for name in names:
        word = OverridesParser.create().parse_override(f"ckpt=outputs/sweeps/{name}")
        assert not word.is_sweep_override() and word.value() == f"outputs/sweeps/{name}"


def test_a_point_is_named_by_what_others_do_not_have():
    common = common_words(
        ["gan=sngan", "gan.lr=1e-3", "seed=3", "loss=hinge,minimax", "x=interval(0,1)"]
    )
    words = ["gan=sngan", "gan.lr=0.001", "seed=3", "loss=hinge", "x=0.25"]
    assert point_name(words, common) == "loss-hinge+x-0.25"
    assert point_name(reversed(words), common) == "loss-hinge+x-0.25"
    # A sweeper that trains several seeds of a point gives it another one than was typed.
    assert point_name([*words[:2], "seed=4", *words[3:]], common) == "loss-hinge+seed-4+x-0.25"
    assert point_name(["gan=sngan"], common) == "point"


def test_what_does_not_alter_training_is_no_part_of_a_sweep_unless_it_is_swept():
    typed = ["trainer=gpu", "seed=0,1", "+trainer.benchmark=true", "gan=sngan", "debug=true"]
    assert identity(typed) == ["seed=0,1", "gan=sngan"]
    assert identity(list(reversed(typed))) == identity(typed)
    assert name_of(identity(typed)) != name_of(identity([*typed, "gan.n_dis=2"]))
    assert identity(["score_every=5,10", "gan=sngan"]) == ["score_every=5,10", "gan=sngan"]


def test_a_point_has_one_folder_whoever_asks(tmp_path):
    sweep = Sweep(tmp_path / "sweep")
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda k: sweep.reserve(f"seed-{k % 12}"), range(96)))
    assert set(folders) == {sweep.folder / f"seed-{k}" for k in range(12)}
    assert [point.name for point in sweep.points()] == [f"seed-{k}" for k in range(12)]
    assert {point.state for point in sweep.points()} == {"waiting"}


def test_how_a_run_ended_is_read_as_it_was_written(tmp_path):
    score = Objective(0.1 + 0.2, "FD/raw", "smaller")
    ending.write(tmp_path, Ending("finished", "all is done", score, 1.5))
    found = ending.read(tmp_path)
    assert found == Ending("finished", "all is done", score, 1.5)
    assert (found.score.name, found.score.direction) == ("FD/raw", "smaller")
    ending.write(tmp_path, Ending("failed", "diverged:\n it\tdid"))
    assert ending.read(tmp_path) == Ending("failed", "diverged: it did")
    assert [path.name for path in tmp_path.iterdir()] == ["failed.txt"]
    (tmp_path / "failed.txt").write_bytes(b"\xff\nscore x\nseconds\n" + b"7" * 20_000)
    assert ending.read(tmp_path) == Ending("failed", "\N{REPLACEMENT CHARACTER}")
    ending.forget(tmp_path)
    assert ending.read(tmp_path) is None


# Killed, stopped, given again --------------------------------------------------------------------


class Spoil(Callback):
    """Does to a run what the files in a folder say: ``nan-4`` lets that of seed 4 diverge.

    Signals are sent once, so that the same command can be given again.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def on_train_batch_end(self, trainer, game, *_):
        if game.iteration != 4:  # of 6, after a score and a checkpoint, and a score since
            return
        if (self.folder / f"memory-{game.seed}").exists():
            raise torch.OutOfMemoryError("a tensor is too large")
        if (self.folder / f"nan-{game.seed}").exists():
            next(game.generator.parameters()).data.fill_(float("nan"))
        if (self.folder / f"hang-{game.seed}").exists():
            (self.folder / f"hangs-{game.seed}").touch()
            while (self.folder / f"hang-{game.seed}").exists():
                time.sleep(0.05)
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            order = self.folder / f"{number.name}-{game.seed}"
            if order.exists():
                order.unlink()
                os.kill(os.getpid(), number)


@pytest.fixture(scope="module")
def orders(tmp_path_factory):
    return tmp_path_factory.mktemp("orders")


@pytest.fixture(scope="module")
def words(orders):
    """A sweep of six points of which one diverges."""
    (orders / "nan-4").touch()
    spoil = f"+callbacks.spoil={{_target_: test_sweeps.Spoil, folder: {orders}}}"
    with pytest.MonkeyPatch.context() as patch:  # processes of their own find the class above
        path = filter(None, [str(ROOT / "tests"), os.environ.get("PYTHONPATH")])
        patch.setenv("PYTHONPATH", os.pathsep.join(path))
        yield ["-m", *TINY, "seed=0,1,2,3,4,5", spoil]


@pytest.fixture(scope="module")
def undisturbed(words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    code = command([*words, f"output_dir={folder}", "sweep_name=a"])
    return code, folder / "sweeps" / "a"


def test_a_bad_point_is_one_point(undisturbed):
    code, folder = undisturbed
    assert code == 1
    assert states(folder) == {
        f"seed-{seed}": "failed" if seed == 4 else "finished" for seed in range(6)
    }
    assert (folder / "multirun.yaml").exists()  # no other sweep's folder is this one
    bad = listed(folder)["seed-4"]
    assert bad["error"].startswith("diverged: The loss ") and bad["score"] == ""


def test_killed_and_stopped_sweeps_end_like_one_that_was_not(
    undisturbed, words, orders, tmp_path, capfd
):
    words = [*words, f"output_dir={tmp_path}"]
    (orders / "SIGKILL-1").touch()
    code, *_ = finish(start(words))
    assert code == -signal.SIGKILL
    (folder,) = (tmp_path / "sweeps").iterdir()
    waiting = dict.fromkeys(["seed-2", "seed-3", "seed-4", "seed-5"], "waiting")
    assert states(folder) == {"seed-0": "finished", "seed-1": "running"} | waiting
    assert [point.state for point in Sweep(folder).points()][:2] == ["finished", "failed"]

    (orders / "SIGINT-2").touch()
    assert command(words) == 128 + signal.SIGINT
    assert states(folder) == {"seed-0": "finished", "seed-1": "finished", "seed-2": "stopped"} | {
        name: "waiting" for name in ("seed-3", "seed-4", "seed-5")
    }
    assert "seed-0: finished before" in capfd.readouterr().out
    assert command(words) == 1
    assert "1 of 6 points failed:\n  seed-4: diverged: " in capfd.readouterr().err

    _, other = undisturbed
    assert records(folder) == records(other)
    scores = [{n: row["score"] for n, row in listed(place).items()} for place in (folder, other)]
    assert scores[0] == scores[1]


# What is wrong with a point ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoilt(words, orders, tmp_path_factory):
    """A sweep of four points: good, without memory for it, and refused twice."""
    folder = tmp_path_factory.mktemp("spoilt")
    (orders / "memory-7").touch()
    words = [*words, "seed=6,7", "batch_size=8,0", f"output_dir={folder}", "sweep_name=a"]
    return words, command(words), folder / "sweeps" / "a"


def test_each_failed_point_says_why(spoilt, capfd):
    _, code, folder = spoilt
    assert code == 1
    found = listed(folder)
    kinds = {name: row["error"].partition(":")[0] for name, row in found.items()}
    assert kinds == {
        "batch_size-0+seed-6": "refused",
        "batch_size-0+seed-7": "refused",
        "batch_size-8+seed-6": "",
        "batch_size-8+seed-7": "out of memory",
    }
    assert (folder / "batch_size-8+seed-6" / "finished.txt").exists()


def test_failed_points_stand_in_leaderboards(spoilt, tmp_path, capfd):
    *_, folder = spoilt
    assert command([str(folder), "--html", f"{tmp_path}/page.html"], "leaderboard.py") == 0
    shown = capfd.readouterr().out
    assert "failed: 3 runs" in shown
    for page in ((tmp_path / "page.html").read_text(), (folder / "leaderboard.html").read_text()):
        for sentence in (shown, page):
            assert "The memory is not enough" in sentence and "batch_size-0+seed-7" in sentence


def test_a_point_of_another_process_is_waited_for(spoilt, capfd):
    words, _, folder = spoilt
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / "batch_size-8+seed-6")], stdout=subprocess.PIPE
    )
    assert held.stdout.readline() == b"held\n"
    assert command(words) == 1
    held.wait()
    shown = capfd.readouterr().out
    assert f"batch_size-8+seed-6 is going on in process {held.pid} on" in shown
    assert "batch_size-8+seed-6: finished before" in shown


def test_a_folder_of_other_settings_is_refused_and_left(spoilt, capfd):
    words, _, folder = spoilt
    before = {path: path.read_bytes() for path in folder.glob("*-8+seed-6/*.*") if path.is_file()}
    others = [word.replace("gan.n_dis=1", "gan.n_dis=2") for word in words]
    assert command(others) == 2
    error = capfd.readouterr().err
    assert "seed-6 was begun with other settings: gan.n_dis (1 -> 2); put them back, or" in error
    assert before == {path: path.read_bytes() for path in before}


ABSENT = "hydra_plugins.hydra_absent_launcher.launcher.Launcher"


def test_a_command_that_makes_no_sense_leaves_nothing(words, tmp_path, capfd):
    words = [*words, f"output_dir={tmp_path}"]
    for word, sentence in (
        ("ckpt=last", "ckpt= is not needed in a sweep"),
        ("run_name=mine", "run_name= is not needed in a sweep"),
        ("hydra.sweeper.max_batch_size=2", "the first batch with a failed point"),
        (f"hydra.launcher._target_={ABSENT}", "not installed: pip install 'saddlepoint[absent]'"),
        ("gan.n_dos=1,2", "'gan.n_dos' is no setting; did you mean 'gan.n_dis'"),
        ("loss=hinge,hinges", "'hinges' is no choice of loss"),
    ):
        assert command([*words, word]) == 2
        assert sentence in capfd.readouterr().err
    assert not list(tmp_path.rglob("*.*"))


# Several at once ---------------------------------------------------------------------------------


@pytest.fixture
def three(words, tmp_path):
    """The first three points, one after another."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = [word.replace("seed=0,1,2,3,4,5", "seed=0,1,2") for word in words]
    return [*words, f"output_dir={tmp_path}", "sweep_name=a"]


TWO_AT_ONCE = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


def start_and_hang(words, orders):
    """Start a sweep, and wait until its first two points hang in their fourth iteration."""
    for seed in (0, 1):
        (orders / f"hang-{seed}").touch()
    process = start([*words, *TWO_AT_ONCE])
    while len(list(orders.glob("hangs-*"))) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    return process


def go_on(orders):
    for path in orders.glob("hang*"):
        path.unlink()


def workers_of(folder):
    return [lock.holder(folder / f"seed-{seed}")[0] for seed in (0, 1)]


def are_gone(numbers, within):
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not any(Path(f"/proc/{number}").exists() for number in numbers):
            return True
        time.sleep(0.1)
    return False


def test_workers_whose_parent_is_killed_stop_and_take_no_further_point(
    three, orders, tmp_path, undisturbed
):
    process = start_and_hang(three, orders)
    folder = tmp_path / "sweeps" / "a"
    workers = workers_of(folder)
    process.kill()
    time.sleep(3)  # they look every second
    go_on(orders)
    assert are_gone(workers, within=60)
    assert states(folder) == {"seed-0": "stopped", "seed-1": "stopped", "seed-2": "waiting"}
    finish(process)
    assert command(three) == 0
    expected = records(undisturbed[1])
    assert records(folder) == {f"seed-{seed}": expected[f"seed-{seed}"] for seed in (0, 1, 2)}


def test_sigterm_waits_for_the_checkpoints_of_workers(three, orders, tmp_path):
    process = start_and_hang(three, orders)
    process.terminate()
    time.sleep(1)
    go_on(orders)
    code, *_ = finish(process)
    assert code == 128 + signal.SIGTERM
    folder = tmp_path / "sweeps" / "a"
    assert states(folder) == {"seed-0": "stopped", "seed-1": "stopped", "seed-2": "waiting"}
    for seed in (0, 1):
        # None that was due: the signal came in the fourth iteration, and three have one.
        assert checkpoint_file.load(folder / f"seed-{seed}")["game"]["iteration"] == 5


def test_a_killed_worker_is_a_failed_point(three, orders, tmp_path, capfd):
    (orders / "SIGKILL-1").touch()
    assert command([*three, *TWO_AT_ONCE]) == 1
    errors = capfd.readouterr().err
    found = listed(tmp_path / "sweeps" / "a")
    assert found["seed-1"]["state"] == "failed"
    assert found["seed-1"]["error"].startswith("killed: ")
    assert "of 3 points failed:" in errors and "seed-1: killed: " in errors
    failures = {failure.folder.name for failure in read([tmp_path]).failures}
    assert failures == {name for name, row in found.items() if row["state"] == "failed"}


# Several processes a point -----------------------------------------------------------------------


def test_a_process_that_is_started_for_a_point_passes_over_those_before(monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 0, raising=False)
    monkeypatch.delenv(ranks.PLAYED, raising=False)
    assert not ranks.came_later("seed-0") and not ranks.came_later("seed-1")
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # begun in seed-1, by the same command
    assert [ranks.came_later(f"seed-{seed}") for seed in (0, 1, 2)] == [True, False, False]


def test_the_processes_of_a_failed_point_are_not_those_of_the_next(monkeypatch, tmp_path):
    monkeypatch.setattr(rank_zero_only, "rank", 0, raising=False)
    monkeypatch.setattr(ranks, "_by_others", False)
    for name in ranks.TOLD:
        monkeypatch.setenv(name, "1")
    ranks.part()  # nothing to part
    assert os.environ["LOCAL_RANK"] == "1"
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    ranks.part()
    assert not torch.distributed.is_initialized()
    assert not any(name in os.environ for name in ranks.TOLD)  # by which Lightning starts others
