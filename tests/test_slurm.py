"""Jobs of a SLURM cluster are preempted, requeued, and end as if nothing had happened."""

import pytest
from slurm_cluster import can_start, cluster, said, until
from train_cli import ROOT, equal, train_here

from saddlepoint.runs import checkpoint_file

pytestmark = pytest.mark.skipif(not can_start(), reason="needs slurm-wlm, munge and root")

GAME = [
    *("datamodule=gaussians8", "network=mlp", "gan=sngan", "batch_size=16", "monitor=none"),
    *("iterations=500", "checkpoint_every=10", "sample_every=1000", "trainer=cpu"),
    *("network.generator.width=16", "network.discriminator.width=16", "~callbacks.animation"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    train_here([*GAME, f"output_dir={folder}", "run_name=run"])
    return checkpoint_file.load(folder / "run")["game"]


def test_a_preempted_job_goes_on(slurm, undisturbed, tmp_path):
    log = tmp_path / "log"
    words = [f"--output={log}", "examples/train.sbatch", "run", *GAME, f"output_dir={tmp_path}"]
    job = said(["sbatch", "--parsable", *words], slurm, ROOT)
    until((tmp_path / "run" / "checkpoints" / "last.ckpt").exists, 60)
    said(["scancel", "--signal=USR1", job], slurm)
    until(lambda: not said(["squeue", "-h", "-j", job, "-t", "PD,R,CG"], slurm), 90)
    assert log.read_text().count("stopped by SIGUSR1") == 1
    assert " finished " in log.read_text()
    assert "JobState=COMPLETED" in said(["scontrol", "show", "job", job], slurm)
    assert "Restarts=1" in said(["scontrol", "show", "job", job], slurm)
    assert equal(checkpoint_file.load(tmp_path / "run")["game"], undisturbed)
    assert not list((tmp_path / "run").rglob("hpc_ckpt*"))
