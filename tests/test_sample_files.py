"""Samples as files: what they are, going on where they were cut off, and several processes."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from train_cli import QUICK, ROOT, composed, train_here

from saddlepoint.datamodules.folder import Folder
from saddlepoint.errors import UserError
from saddlepoint.runs import evaluate, sample
from saddlepoint.runs.pictures import to_uint8
from saddlepoint.runs.trained_run import TrainedRun

#: More than one block, and not a whole number of them.
NUM = 270


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    for name, words in {"plain": ["gan=sngan"], "classes": ["gan=cgan_pd"]}.items():
        here = [f"output_dir={folder}", f"run_name={name}", "iterations=2"]
        train_here(["network=lite", *words, *QUICK, *here])
    train_here(["experiment=toy_gaussians8", *QUICK, f"output_dir={folder}", "run_name=points"])
    return folder


def write(outputs, output, run="plain", num=NUM, **more):
    words = [f"{key}={value}" for key, value in more.items()]
    words += ["what=images", f"run={outputs / run}", f"output={output}", f"num={num}"]
    return sample.sample(composed(words, "sample"))


def pixels(folder):
    return np.stack([np.array(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def written(outputs, tmp_path_factory):
    return write(outputs, tmp_path_factory.mktemp("written") / "samples")


def test_the_files_are_the_generator_s_samples(outputs, written):
    game = TrainedRun.find(outputs / "plain", outputs).game()
    expected = torch.cat(
        [to_uint8(game.sample(game.inputs_at(range(k, k + 250), seed=0))) for k in (0, 250)]
    )
    assert np.array_equal(pixels(written), expected[:NUM].permute(0, 2, 3, 1).numpy())
    assert sorted(path.name for path in written.iterdir())[-1] == "images.json"
    assert len(list(written.iterdir())) == NUM + 1


def test_it_goes_on_where_it_was_cut_off(outputs, written, tmp_path):
    whole = contents(written)
    folder = tmp_path / "samples"
    write(outputs, folder, num=100)
    half = (folder / "0000007.png").read_bytes()
    (folder / "0000007.png").write_bytes(half[: len(half) // 2])
    (folder / "0000008.png").unlink()
    write(outputs, folder)
    assert contents(folder) == whole
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    write(outputs, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_zip_holds_the_same(outputs, written, tmp_path):
    path = write(outputs, tmp_path / "samples.zip")
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents(written)
    assert [each.name for each in tmp_path.iterdir()] == ["samples.zip"]
    assert write(outputs, path) == path
    with pytest.raises(UserError, match="holds 270 images and is complete"):
        write(outputs, path, num=4)


def test_classes_stand_in_the_file_that_stylegan_reads(outputs, tmp_path):
    folder = write(outputs, tmp_path / "samples", run="classes", num=20)
    game = TrainedRun.find(outputs / "classes", outputs).game()
    asked = game.inputs_at(range(20), seed=0).condition.tolist()
    labels = json.loads((folder / "dataset.json").read_text())["labels"]
    assert labels == [[f"{k:07d}.png", label] for k, label in enumerate(asked)]
    data = Folder(folder, num_workers=0)
    found = data.items_at(torch.arange(20))
    assert data.spec.shape == (3, 32, 32) and found.label.tolist() == asked


def test_two_processes_write_what_one_does(outputs, written, tmp_path):
    words = [
        f"run={outputs / 'plain'}",
        "what=images",
        f"num={NUM}",
        f"output={tmp_path / 's.zip'}",
    ]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(ROOT / "sample.py"), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents(written)


def test_their_score_is_the_generator_s(outputs, written):
    few = ["protocol=quick", "protocol.num_real=270", f"protocol.num_fake={NUM}"]
    here = [f"output_dir={outputs}"]
    of_run = evaluate.evaluate(composed([f"run={outputs / 'plain'}", *few, *here], "evaluate"))
    words = [f"images={written}", "datamodule=avatars", *few, *here]
    of_files = evaluate.evaluate(composed(words, "evaluate"))
    # Batches of other sizes round otherwise: a value on the border of two bytes may change.
    for name, value in of_run.means.items():
        assert of_files.means[name] == pytest.approx(value, rel=1e-3), name


@pytest.mark.parametrize(
    ("prepare", "words", "sentence"),
    [
        (None, {"seed": 1}, "of another generator, or of another seed"),
        (None, {"run": "classes"}, "of another generator"),
        (None, {"num": 4}, "holds 10 images by now, and 4 are asked for"),
        ("notes.txt", {}, "holds other files"),
    ],
)
def test_what_else_lies_there_is_left_alone(prepare, words, sentence, outputs, tmp_path):
    folder = tmp_path / "samples"
    if prepare:
        folder.mkdir()
        (folder / prepare).write_text("mine")
    else:
        write(outputs, folder, num=10)
    before = contents(folder)
    with pytest.raises(UserError, match=sentence):
        write(outputs, folder, **{"num": 10, **words})
    assert contents(folder) == before


def test_points_and_other_endings_are_refused(outputs, tmp_path):
    with pytest.raises(UserError, match=r"saddlepoint\.load\(run\)"):
        write(outputs, tmp_path / "samples", run="points", num=4)
    with pytest.raises(UserError, match=r"end with \.zip"):
        write(outputs, tmp_path / "samples.png", num=4)
    assert not list(tmp_path.iterdir())
