"""What is installed: one package, complete, that needs no checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from train_cli import QUICK, ROOT

#: What of a checkout is copied to build from: all but what git ignores and what building leaves.
LEFT_OUT = {".git", "outputs", "data", "build", "dist", "wandb", "classifiers", "__pycache__"}
TINY = [*QUICK, "iterations=2"]


def copy(folder: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for path in folder.iterdir():
        if path.name in LEFT_OUT or path.name.endswith((".egg-info", "_cache")):
            continue
        if path.is_dir():
            copy(path, target / path.name)
        else:
            (target / path.name).write_bytes(path.read_bytes())


def pip(*words):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    copy(ROOT, folder / "source")
    pip("wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(folder / "source"))
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel):
    target = wheel.parent / "site"
    pip("install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    return target


@pytest.fixture
def run(installed, tmp_path):
    """Run Python in an empty folder, with the installed package and no checkout on its path."""

    def run(*words, folder=tmp_path, path=installed):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(path)}
        environment.pop("HYDRA_FULL_ERROR", None)
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_nothing_else_lands_at_the_top_level(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    ours = {"saddlepoint", "hydra_plugins"}
    assert {top for top in tops if not top.endswith(".dist-info")} == ours
    assert len(tops) == 3
    plugins = {name.split("/")[1] for name in names if name.startswith("hydra_plugins/")}
    assert plugins == {"saddlepoint_sweepers"}  # the others of that namespace are other people's
    inside = {name.split("/")[1] for name in names if name.startswith("saddlepoint/")}
    assert not inside & {"tests", "benchmarks", "docs", "examples", "build", ".ci"}


def test_every_module_setting_and_asset_is_in_it(wheel):
    """Whatever git keeps of the package's folders is installed."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    outside = {"tests", "benchmarks", "docs", "examples", ".ci", ".github"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git repository to compare with")
    paths = [Path(line) for line in listed.stdout.splitlines()]
    package = [path for path in paths if len(path.parts) > 1 and path.parts[0] not in outside]
    assert len(package) > 150
    placed = {p: str(p) if p.parts[0] == "hydra_plugins" else f"saddlepoint/{p}" for p in package}
    missing = [str(p) for p in package if placed[p] not in names and (ROOT / p).exists()]
    assert not missing
    for path in (
        "conf/train.yaml",
        "conf/gan/sngan.yaml",
        "datamodules/assets/avatars.npz",
        "py.typed",
    ):
        assert f"saddlepoint/{path}" in names


def test_an_installed_package_trains_in_an_empty_folder(run, installed, tmp_path):
    (command,) = (installed / "bin").glob("saddlepoint*")
    where = run("-c", "import saddlepoint; print(saddlepoint.__file__)").strip()
    assert Path(where).parent == installed / "saddlepoint"
    said = run(command, "train", *TINY, "run_name=run")
    assert "avatars-r1_gan: 2 iterations, in outputs/run" in said
    assert (tmp_path / "outputs" / "run" / "checkpoints" / "last.ckpt").exists()
    run(command, "sample", "run=last", "images=4")
    assert {path.name for path in tmp_path.iterdir()} == {"outputs"}


def test_hydra_finds_the_installed_sweepers(run):
    program = "from hydra.core.plugins import Plugins; from hydra.plugins.sweeper import Sweeper;"
    program += "print([plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)])"
    assert "'LazyGPSweeper', 'OptunaSweeper'" in run("-c", program)


def test_an_installed_command_starts_several_processes(run, installed, tmp_path):
    """The second process is started by the first, from the file of the command."""
    (command,) = (installed / "bin").glob("saddlepoint*")
    words = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    tiny = [word for word in TINY if word != "trainer=cpu"]
    said = run(command, "train", *tiny, *words, "run_name=run")
    assert "2 iterations, 0.0 kimg" in said
    assert (tmp_path / "outputs" / "run" / "checkpoints" / "last.ckpt").exists()


def test_the_script_of_a_checkout_does_the_same(run, tmp_path):
    """`python train.py`, with the package where `pip install -e .` would have put it."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "saddlepoint").symlink_to(ROOT)
    said = run(ROOT / "train.py", *TINY, "run_name=run", path=tmp_path / "path")
    assert "avatars-r1_gan: 2 iterations, in outputs/run" in said
