"""Every command in README.md and docs/ is run: as it stands, on tiny networks."""

import math
import os
import re
import shlex
from pathlib import Path

import joblib
import pytest
from omegaconf import OmegaConf
from pictures import picture, put
from train_cli import QUICK, ROOT, command, composed, train_here

import saddlepoint
from saddlepoint.datamodules.download import DOWNLOADS as FETCHED
from saddlepoint.errors import UserError
from saddlepoint.exports.command import export
from saddlepoint.runs import checkpoint_file, evaluate, sample, train_extractor
from saddlepoint.runs.sweeps.folder import Sweep
from saddlepoint.runs.sweeps.names import parsed

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(*start):
    """Arguments of every command in a shell block that starts like this, without repetitions."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```(?:bash|sh)\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if tuple(words[: len(start)]) == start:
                    found.append(tuple(words[len(start) :]))
    return list(dict.fromkeys(found))


def working(*start):
    """Those that do something; what help says is tests/test_startup.py's."""
    return [words for words in commands(*start) if "--help" not in words]


#: What takes a cluster, or several processes: tests/test_cluster_page.py runs it; searches:
#: tests/test_study_sweepers.py.
CLUSTERS = {
    *("trainer=ddp", "ckpt=auto", "hydra/launcher=submitit_slurm", "hydra/launcher=ray"),
}
SEARCHES = {"hydra/sweeper=lazy_gp", "hydra/sweeper=optuna"}
TRAIN, SWEEPS = [], []
for line in working("python", "train.py"):
    if not {*CLUSTERS, *SEARCHES} & set(line):
        (SWEEPS if "-m" in line else TRAIN).append(line)
SAMPLE = working("python", "sample.py")
EXPORTS = working("python", "export.py")
EVALUATE = working("python", "evaluate.py")
EXTRACTORS = working("python", "train_extractor.py")
DOWNLOADS = commands("saddlepoint", "download")
#: Those of the README; docs/leaderboard.md shows all options at once.
BOARDS = [words for words in commands("python", "leaderboard.py") if words[0] == "outputs"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


def tiny(words, outputs):
    quick = [word for word in QUICK if not (word == "trainer=cpu" and "trainer=gpu" in words)]
    small = [*words, *quick, "trainer.accelerator=cpu", f"output_dir={outputs}"]
    representation = composed(small).stages.get("representation", {})
    if "epochs" in representation:
        learned = ("epochs=1", "items=64", "method.width=2")
        small += [f"stages.representation.{setting}" for setting in learned]
    return small


def test_commands_are_found():
    assert ("gan=sngan", "datamodule=cifar10", "trainer=gpu") in TRAIN
    assert () in TRAIN
    assert SAMPLE
    assert EXPORTS
    assert SWEEPS
    assert EXTRACTORS
    assert any("images=A" in words for words in EVALUATE)
    assert len(BOARDS) == 3
    assert DOWNLOADS


@pytest.mark.parametrize(
    "words", [w for w in TRAIN if not any("ckpt=" in x for x in w)], ids=" ".join
)
def test_train(words, outputs):
    overrides = tiny(words, outputs)
    config = composed([*overrides, "data_dir=nowhere"])
    data = config.datamodule
    while "of" in data and not data.get("file"):
        data = data.of
    own_data = data._target_.split(".")[2] in ("avatars", "portraits", "toys")
    if own_data:
        train_here(overrides)
        return
    # The data are not here: the run says what is missing before it writes anything.
    if config.datamodule.get("digits") == "auto":  # a package may have some
        overrides.append("datamodule.digits=mnist")
    OmegaConf.to_container(config, resolve=True)
    file = data.get("path") or data.get("file")
    with pytest.raises(UserError, match=file or "nowhere"):
        train_here([*overrides, "data_dir=nowhere"])


@pytest.mark.parametrize("words", [w for w in TRAIN if any("ckpt=" in x for x in w)], ids=" ".join)
def test_resume(words, outputs):
    train_here(tiny((), outputs))
    train_here([*words, f"output_dir={outputs}", "iterations=8", "allow_changes=true"])


@pytest.mark.parametrize("words", SWEEPS, ids=" ".join)
def test_sweep(words, tmp_path):
    toys = any("experiment=toy_" in word for word in words)
    if toys:  # every method, and of its seeds one
        words = [word for word in words if not word.startswith("seed=")]
    data = ["datamodule.num_items=1000"] if toys else ["datamodule=avatars"]
    at_once = "hydra/launcher=joblib" in words
    if at_once:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    assert command([*words, *QUICK, *data, f"output_dir={tmp_path}"]) == 0
    found = {Path(path).parent.parent for path in tmp_path.rglob("checkpoints/last.ckpt")}
    (sweep,) = {folder.parent for folder in found}
    assert {point.folder for point in Sweep(sweep).points() if point.state == "finished"} == found
    swept = [parsed(word) for word in words if "=" in word and parsed(word).is_sweep_override()]
    assert len(found) == math.prod(len(word.value().list) for word in swept)
    if at_once:  # the cores are divided
        given = os.environ.get("OMP_NUM_THREADS") or max(1, joblib.cpu_count() // 2)
        assert {checkpoint_file.load(folder)["threads"] for folder in found} == {int(given)}


#: What a run has to be trained with for a picture, where the default run does not do.
NEEDED = {
    "what=classes": ["gan=cgan_pd", "network=lite"],
    "what=conditions": ["gan=latent_conditioned", "network=lite", "representation=extractor"],
    "what=density": ["experiment=toy_25gaussians", "gan=gan"],
    "what=attributes": ["experiment=edit_faces"],
    "what=edit": ["experiment=edit_faces"],
    "what=target_classes": ["gan=funit", "network=funit_small"],
    "what=translate": ["gan=funit", "network=funit_small"],
}


@pytest.mark.parametrize("words", SAMPLE, ids=" ".join)
def test_sample(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, {"face.png": picture(), "me.jpg": picture(), "like_these/1.png": picture(1)})
    run = next((NEEDED[word] for word in words if word in NEEDED), [])
    train_here([*run, *QUICK, "sample_every=3", f"output_dir={tmp_path}"])
    few = ["num_real=200", "num_fake=200", "num=20", f"output_dir={tmp_path}"]
    written = sample.sample(composed([*words, *few], "sample"))
    assert written.stat().st_size > 1000


@pytest.mark.parametrize("words", EXPORTS, ids=" ".join)
def test_export(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_here([*QUICK, f"output_dir={tmp_path}"])
    folder = export(composed([*words, "images=4", f"output_dir={tmp_path}"], "export"))
    assert saddlepoint.load(folder).sample(2).shape == (2, 3, 32, 32)


def write_own_metric(folder):
    """The metric that docs/scores.md shows, as a module of its own."""
    page = (ROOT / "docs" / "scores.md").read_text()
    (source,) = re.findall(r"```python\n(.*?class Sharpness.*?)```", page, re.DOTALL)
    (folder / "my_package.py").write_text(source)


@pytest.mark.parametrize("words", EVALUATE, ids=" ".join)
def test_evaluate(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_own_metric(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    config = composed([*words, f"output_dir={tmp_path}"], "evaluate")
    if config.run:
        train_here([*QUICK, f"output_dir={tmp_path}"])
        few = ["protocol.num_real=1000", "protocol.num_fake=1000"]
        config = composed([*words, *few, f"output_dir={tmp_path}"], "evaluate")
        if "protocol=edit" in words:  # faces without regions are drawn, and none is edited
            with pytest.raises(UserError, match="no regions that show attributes"):
                evaluate.evaluate(config)
        elif config.protocol.weights:
            with pytest.raises(UserError, match="There is no classifier classifiers/cifar10.pt"):
                evaluate.evaluate(config)
        else:
            assert evaluate.evaluate(config).means
        return
    # Images, and the weights of Inception, are not here: it says what is missing.
    with pytest.raises(UserError, match=r"images at|samples\.zip|cifar"):
        evaluate.evaluate(config)
    assert not list(tmp_path.rglob("records.jsonl"))


@pytest.mark.parametrize("words", EXTRACTORS, ids=" ".join)
def test_train_extractor(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="saddlepoint download cifar10"):
        train_extractor.train_extractor(composed(words, "train_extractor"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", DOWNLOADS, ids=" ".join)
def test_download_knows_the_data_set(words):
    assert words[0] in FETCHED


def test_leaderboard(tmp_path):
    scored = ["monitor=quick", "monitor.num_real=64", "monitor.num_fake=64"]
    train_here([*QUICK, *scored, f"output_dir={tmp_path}/outputs"])
    for words in BOARDS:
        paths = [f"{tmp_path}/{word}" for word in words if not word.startswith("--")]
        options = iter([word for word in words if word.startswith("--")])
        arguments = [paths[0], *(x for path in paths[1:] for x in (next(options), path))]
        assert command(arguments, "leaderboard.py") == 0
        assert all(Path(path).exists() for path in paths)
