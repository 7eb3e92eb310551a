"""A method in a package of its own trains, resumes, is sampled, scored and compared: no fork."""

import os
import subprocess
import sys

import pytest
from train_cli import QUICK, ROOT

from saddlepoint.runs import checkpoint_file

EXAMPLE = ROOT / "examples" / "own_method"
TRUST = "trust=[own_method]"  # its classes are named by the run's files
SEARCHED = "hydra.searchpath=[pkg://own_method.conf]"
CONSOLE = "import sys; from saddlepoint.runs.console import main; sys.exit(main())"
SCORED = [
    *(word for word in QUICK if not word.startswith("monitor")),
    *("monitor=quick", "monitor.num_fake=64", "monitor.num_real=256"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder in which nothing is but what the method's runs leave."""
    folder = tmp_path_factory.mktemp("elsewhere")

    def run(command, *words, expected=0):
        path = [str(EXAMPLE), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)}
        environment.pop("HYDRA_FULL_ERROR", None)  # a user has not set it
        done = subprocess.run(
            [sys.executable, "-c", CONSOLE, command, *words],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout + done.stderr

    run.folder = folder
    return run


def test_a_method_outside_the_package_does_all_that_ours_do(run):
    folder = run.folder / "outputs" / "run"
    train = ("train", SEARCHED, "gan=drift_sngan", "network=lite", *SCORED, "run_name=run")
    said = run(*train)
    assert "avatars-drift_sngan: 6 iterations" in said
    assert "discriminator/drift" in (folder / "metrics.csv").read_text().splitlines()[0]

    # Resumed from its folder or as the newest: where its YAMLs lie is remembered.
    said = run("train", "ckpt=last", TRUST, "iterations=8", "allow_changes=true")
    assert "avatars-drift_sngan: 8 iterations" in said
    assert "finished" in said

    run("sample", "run=last", TRUST, "images=4")
    assert (folder / "grid.png").stat().st_size > 500
    run(
        "evaluate",
        "run=last",
        TRUST,
        "protocol=quick",
        "protocol.num_fake=64",
        "protocol.num_real=256",
    )
    few = ("protocol.num_fake=64", "protocol.num_real=256", "protocol=quick")
    # Data found elsewhere: its settings are composed anew.
    run("evaluate", "run=last", TRUST, "data_dir=nowhere", *few)

    said = run("leaderboard", "outputs")
    assert "drift_sngan" in said and "FD" in said


def test_its_term_stacks_on_our_methods(run):
    words = ["gan=sngan", "network=lite", "terms=[rotation,drift]", "run_name=stacked"]
    said = run("train", SEARCHED, *words, *QUICK)
    assert "avatars-sngan+rotation+drift" in said


def test_its_networks_take_our_terms_and_its_term_remembers(run):
    words = ["gan=ssgan", "network=shuffle", "terms=[rotation,infomax,lecam]"]
    said = run("train", SEARCHED, *words, *QUICK, "run_name=remembers")
    assert "avatars-ssgan+infomax+lecam" in said
    file = run.folder / "outputs" / "remembers" / "checkpoints" / "last.ckpt"
    modules = checkpoint_file.load(file)["game"]["modules"]
    assert modules["terms.lecam.anchors"].abs().min() > 0
    run("sample", "run=last", TRUST, "images=4")


def test_without_its_yamls_the_method_is_not_found(run):
    said = run("train", "gan=drift_sngan", *QUICK, expected=2)
    assert said.startswith("error: 'drift_sngan' is no choice of gan")
