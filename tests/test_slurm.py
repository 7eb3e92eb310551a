"""Jobs of a SLURM cluster are preempted, requeued, and end as if nothing had happened."""

import contextlib
import importlib.util
import time
from types import SimpleNamespace

import pytest
from pytorch_lightning import Callback
from slurm_cluster import NotStartedError, can_start, cluster, said, until
from train_cli import ROOT, equal, finish, start, train_here

from saddlepoint.runs import checkpoint_file
from saddlepoint.runs.sweeps.folder import Sweep

pytestmark = pytest.mark.skipif(not can_start(), reason="needs slurm-wlm, munge and root")

GAME = [
    *("datamodule=gaussians8", "network=mlp", "gan=sngan", "gan.n_dis=1", "batch_size=16"),
    *("iterations=40", "checkpoint_every=10", "sample_every=1000", "trainer=cpu"),
    *("network.generator.width=16", "network.discriminator.width=16", "~callbacks.animation"),
    *("monitor=points", "score_every=15", "monitor.num_fake=200"),
]
HOLD = "+callbacks.hold={_target_: test_slurm.Hold, _partial_: true, seed: 1}"
SETTINGS = [*GAME, HOLD]


class Hold(Callback):
    """Lets the run of one seed wait after 20 iterations for its notice, once."""

    def __init__(self, run, seed):
        self.run, self.seed, self.mark = run, seed, run.folder / "held"

    def on_train_batch_end(self, trainer, game, *_):
        if game.iteration == 20 and game.seed == self.seed and not self.mark.exists():
            self.mark.touch()
            while not self.run.is_stopped():
                time.sleep(0.05)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(cluster(tmp_path_factory.mktemp("slurm"), ROOT / "tests"))
        except NotStartedError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    for seed in (0, 1):
        train_here([*GAME, f"seed={seed}", f"output_dir={folder}", f"run_name=seed-{seed}"])
    return folder


@pytest.fixture(scope="module")
def ended(slurm, tmp_path_factory):
    """A job of the script in examples/, and a sweep, after each has had its notice."""
    folder = tmp_path_factory.mktemp("outputs")
    words = ["examples/train.sbatch", "run", *SETTINGS, "seed=1", f"output_dir={folder}"]
    job = said(["sbatch", "--parsable", f"--output={folder}/log", *words], slurm, ROOT)
    sweep = folder / "sweeps" / "of-seeds"
    if importlib.util.find_spec("submitit"):
        launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1"]
        words = ["-m", "seed=0,1", *SETTINGS, f"output_dir={folder}", "sweep_name=of-seeds"]
        process = start([*words, *launcher], environment=slurm)
        until((sweep / "seed-1" / "held").exists, 120)
        array = said(["squeue", "-h", "-n", "saddlepoint", "-t", "R", "-o", "%F_%K"], slurm)
        (second,) = (name for name in array.split() if name.endswith("_1"))
        said(["scancel", "--signal=USR2", second], slurm)
    until((folder / "run" / "held").exists, 120)
    said(["scancel", "--signal=USR1", job], slurm)
    until(lambda: not said(["squeue", "-h", "-j", job, "-t", "PD,R,CG"], slurm), 120)
    about = said(["scontrol", "show", "job", job], slurm)
    code, _, errors = finish(process) if importlib.util.find_spec("submitit") else (None,) * 3
    return SimpleNamespace(folder=folder, sweep=sweep, about=about, code=code, errors=errors)


def is_same(folder, other):
    games = [checkpoint_file.load(path)["game"] for path in (folder, other)]
    return equal(*games)


def test_a_job_that_has_its_notice_is_requeued_and_ends_as_an_undisturbed_run(ended, undisturbed):
    log = (ended.folder / "log").read_text()
    assert log.count(" stopped by SIGUSR1 ") == log.count(" finished ") == 1
    assert "JobState=COMPLETED" in ended.about and "Restarts=1" in ended.about
    assert is_same(ended.folder / "run", undisturbed / "seed-1")
    assert not list((ended.folder / "run").rglob("hpc_ckpt*"))  # of Lightning's own requeue


@pytest.mark.skipif(not importlib.util.find_spec("submitit"), reason="needs submitit")
def test_a_sweep_of_which_a_job_is_preempted_ends_as_an_undisturbed_one(ended, undisturbed):
    assert ended.code == 0, ended.errors
    points = {point.name: point for point in Sweep(ended.sweep).points()}
    assert {name: point.state for name, point in points.items()} == {
        "seed-0": "finished",
        "seed-1": "finished",
    }
    assert (ended.sweep / "seed-1" / "held").exists()
    for name, point in points.items():
        assert is_same(point.folder, undisturbed / name)
        assert (ended.sweep / name / "records.jsonl").read_text().count("\n") == 3
    logs = [path.read_text() for path in ended.sweep.rglob("*_log.out")]
    assert sum("this job is preempted" in log for log in logs) == 1
