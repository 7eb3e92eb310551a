import csv
import importlib.util
import os
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pytorch_lightning import Callback
from train_cli import QUICK, ROOT, finish, start, train_here

from saddlepoint.errors import UserError
from saddlepoint.runs import loggers
from saddlepoint.runs.csv_file import CSVFile
from saddlepoint.runs.loggers import group_of


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_new_columns_are_added_and_rows_of_one_iteration_joined(tmp_path):
    log = CSVFile(tmp_path / "metrics.csv")
    log.log_metrics({"loss": 1.0}, step=10)
    log.log_metrics({"FID": 5.0}, step=10)
    log.log_metrics({"loss": 0.5}, step=20)
    assert rows(tmp_path / "metrics.csv") == [
        {"iteration": "10", "loss": "1.0", "FID": "5.0"},
        {"iteration": "20", "loss": "0.5", "FID": ""},
    ]


def test_a_resumed_file_drops_what_is_repeated(tmp_path):
    log = CSVFile(tmp_path / "metrics.csv")
    for step in (10, 20, 30):
        log.log_metrics({"loss": step}, step=step)
    CSVFile(tmp_path / "metrics.csv", iteration=20).log_metrics({"loss": 0}, step=30)
    assert [row["loss"] for row in rows(tmp_path / "metrics.csv")] == ["10", "20", "0"]


def test_wandb_without_a_login_stays_offline(tmp_path, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    train_here([*QUICK, "logger=wandb", "iterations=2", f"output_dir={tmp_path}", "run_name=run"])
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))


def test_wandb_is_told_settings_numbers_over_kimg_pictures_and_the_group(tmp_path, monkeypatch):
    told = []

    class Run:
        """What wandb gives, but for its process."""

        def __init__(self, **options):
            self.options, self.rows, self.axes = options, [], {}
            self.config = self
            told.append(self)

        def update(self, settings, **_):
            self.settings = settings

        def define_metric(self, name, step_metric=None, **_):
            self.axes[name] = step_metric

        def log(self, row):
            self.rows.append(row)

        def finish(self):
            self.is_over = True

    monkeypatch.setattr("wandb.init", Run)
    monkeypatch.setattr("wandb.run", None)
    scored = ["monitor=quick", "monitor.num_real=64", "monitor.num_fake=64", "score_every=2"]
    words = [*QUICK, *scored, "logger=wandb", "iterations=2", "gan.log_every=1", "sample_every=2"]
    for name, more in (("a", ["seed=0"]), ("b", ["seed=1"]), ("c", ["gan.n_dis=2"])):
        train_here([*words, *more, f"output_dir={tmp_path}", f"run_name={name}"])
    first, second, other = told
    assert first.settings["gan"]["n_dis"] == 1 and first.settings["method"] == "r1_gan"
    assert first.axes["*"] == "kimg"
    assert all(row["kimg"] == 0.008 * row["trainer/global_step"] for row in first.rows)
    assert {"FD-avatars", "samples"} & set().union(*first.rows)
    assert [row["samples"][0].format for row in first.rows if "samples" in row]
    assert first.options["group"] == second.options["group"] != other.options["group"]
    assert first.options["name"] == first.options["id"] == "a"
    assert all(run.is_over for run in told)


def test_a_missing_wandb_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'saddlepoint\[wandb\]'"):
        loggers.wandb("here", "run")


def test_a_group_holds_all_seeds_and_nothing_else():
    settings = {"seed": 0, "gan": {"seed": 0, "n_dis": 1}, "output_dir": "a"}
    again = {"seed": 7, "gan": {"seed": 7, "n_dis": 1}, "output_dir": "b"}
    other = {"seed": 0, "gan": {"seed": 0, "n_dis": 2}, "output_dir": "a"}
    assert group_of(settings, "faces") == group_of(again, "faces")
    assert len({group_of(settings, "faces"), group_of(other, "faces"), group_of(again, "x")}) == 3


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="needs tensorboard")
@pytest.mark.parametrize(("axis", "step"), [("iterations", 1), ("images", 8)])
def test_tensorboard_has_the_axis_that_is_asked_for(axis, step, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    words = ["logger=tensorboard", f"logger.tensorboard.axis={axis}", "gan.log_every=1"]
    train_here([*QUICK, *words, "iterations=2", f"output_dir={tmp_path}", "run_name=run"])
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("kimg")] == [step, 2 * step]
    assert events.Images("samples")[-1].step == 2 * step


class EndWandb(Callback):
    """Ends wandb's own process in the middle of a run, as a full disk does."""

    def on_train_batch_end(self, trainer, game, *_):
        if game.iteration == 2:
            files = Path(f"/proc/{os.getpid()}/task").glob("*/children")  # each thread has its own
            for child in (int(number) for file in files for number in file.read_text().split()):
                if b"wandb-core" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(child, signal.SIGKILL)
                    return
            raise AssertionError("wandb has no process")


class Refusing(BaseHTTPRequestHandler):
    def do_POST(self):  # noqa: N802
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(500)
        self.end_headers()

    do_GET = do_POST  # noqa: N815

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def outages(tmp_path_factory):
    """A run whose wandb ends, and one whose wandb is refused; processes, since wandb is shared."""
    folder = tmp_path_factory.mktemp("outages")
    words = ["logger=wandb", "gan.log_every=1", f"output_dir={folder}"]
    end = "+callbacks.end._target_=test_loggers.EndWandb"
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = {"WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}"}
        # Not the process of wandb that earlier tests have started here.
        own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        refused = {**own, **address, "WANDB_API_KEY": 40 * "a", "WANDB_INIT_TIMEOUT": "3"}
        refused.pop("WANDB_MODE")
        processes = {
            "ended": start(
                [*QUICK, *words, "run_name=ended", end], path=ROOT / "tests", environment=own
            ),
            "refused": start([*QUICK, *words, "run_name=refused"], environment=refused),
        }
        ends = {name: (folder / name, *finish(process)) for name, process in processes.items()}
        server.shutdown()
    return ends


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for a child in /proc")
def test_a_run_goes_on_without_wandb(outages):
    folder, code, _, errors = outages["ended"]
    assert code == 0, errors
    assert errors.count("wandb has failed") == 1
    assert len(rows(folder / "metrics.csv")) == 6
    assert (folder / "finished.txt").exists()


def test_where_the_server_of_wandb_refuses_it_goes_on_offline(outages):
    folder, code, _, errors = outages["refused"]
    assert code == 0, errors
    assert errors.count("wandb refuses") == 1
    assert list((folder / "wandb").glob("offline-run-*"))
    assert (folder / "finished.txt").exists()
