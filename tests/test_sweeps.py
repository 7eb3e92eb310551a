"""Sweeps: points that are found again, one list of them, bad ones that are one point each."""

import csv
import json
import os
import signal
import time
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from pytorch_lightning import Callback
from train_cli import command, finish, start

from saddlepoint.leaderboard import read
from saddlepoint.runs import checkpoint_file, lock
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
GRID = ["seed=0,1,2", "gan.generator_optimizer.lr=0.001,0.002"]


def listed(folder):
    with (folder / "points.csv").open() as file:
        return {row.pop("point"): row for row in csv.DictReader(file)}


def states(folder):
    return {name: row["state"] for name, row in listed(folder).items()}


def records(folder):
    """Records of every point, without times."""
    found = {}
    for path in sorted(folder.glob("*/records.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            for key in ("seconds", "time"):
                line.pop(key)
            for key in ("output_dir", "sweep_name"):
                line["run"]["config"].pop(key)
        found[path.parent.name] = lines
    return found


class Spoil(Callback):
    """Does to a run what the files in a folder say: ``nan-4`` lets that of seed 4 diverge.

    Signals are sent once, so that the same command can be given again.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def on_train_batch_end(self, trainer, game, *_):
        if game.iteration != 5:
            return
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
    return ["-m", *TINY, "seed=0,1,2,3,4,5", spoil]


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

    (orders / "SIGTERM-2").touch()
    assert command(words) == 128 + signal.SIGTERM
    assert states(folder) == {"seed-0": "finished", "seed-1": "finished", "seed-2": "stopped"} | {
        name: "waiting" for name in ("seed-3", "seed-4", "seed-5")
    }
    assert "seed-0: finished before" in capfd.readouterr().out
    (orders / "SIGINT-3").touch()
    assert command(words) == 128 + signal.SIGINT
    assert states(folder)["seed-3"] == "stopped"
    capfd.readouterr()
    assert command(words) == 1
    assert "1 of 6 points failed:\n  seed-4: diverged: " in capfd.readouterr().err

    _, other = undisturbed
    assert records(folder) == records(other)
    scores = [{n: row["score"] for n, row in listed(place).items()} for place in (folder, other)]
    assert scores[0] == scores[1]


# Several at once ---------------------------------------------------------------------------------


@pytest.fixture
def at_once(words, tmp_path):
    """Starts the sweep with two workers."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    place = [f"output_dir={tmp_path}", "sweep_name=a"]
    return lambda: start([*words, *place, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"])


def start_and_hang(at_once, orders):
    """Start it, and wait until its first two points hang in their fifth iteration."""
    for seed in (0, 1):
        (orders / f"hang-{seed}").touch()
    process = at_once()
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
    at_once, words, orders, tmp_path, undisturbed
):
    process = start_and_hang(at_once, orders)
    folder = tmp_path / "sweeps" / "a"
    workers = workers_of(folder)
    process.kill()
    time.sleep(3)  # they look every second
    go_on(orders)
    assert are_gone(workers, within=60)
    expected = {"seed-0": "stopped", "seed-1": "stopped"}
    assert states(folder) == expected | {f"seed-{seed}": "waiting" for seed in (2, 3, 4, 5)}
    finish(process)
    assert command([*words, f"output_dir={tmp_path}", "sweep_name=a"]) == 1
    assert records(folder) == records(undisturbed[1])


def test_sigterm_waits_for_the_checkpoints_of_workers(at_once, orders, tmp_path):
    process = start_and_hang(at_once, orders)
    process.terminate()
    time.sleep(1)
    go_on(orders)
    code, *_ = finish(process)
    assert code == 128 + signal.SIGTERM
    folder = tmp_path / "sweeps" / "a"
    assert states(folder) == {"seed-0": "stopped", "seed-1": "stopped"} | {
        f"seed-{seed}": "waiting" for seed in (2, 3, 4, 5)
    }
    for seed in (0, 1):
        content = checkpoint_file.load(folder / f"seed-{seed}")
        assert content["game"]["iteration"] == 5


def test_a_killed_worker_is_a_failed_point(at_once, orders, tmp_path):
    (orders / "SIGKILL-1").touch()
    code, _, errors = finish(at_once())
    assert code == 1
    found = listed(tmp_path / "sweeps" / "a")
    assert found["seed-1"]["state"] == "failed"
    assert found["seed-1"]["error"].startswith("killed: ")
    assert "of 6 points failed:" in errors and "seed-1: killed: " in errors
    failures = {failure.folder.name for failure in read([tmp_path]).failures}
    assert failures == {name for name, row in found.items() if row["state"] == "failed"}
