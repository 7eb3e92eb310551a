"""Training, scoring and comparing from Python; the notebook and the pages that show it."""

import json
import re
import subprocess
import sys

import pytest
import torch
from notebooks import run_notebook
from train_cli import QUICK, ROOT

import saddlepoint
from saddlepoint.errors import UserError

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
TINY = [w for w in QUICK if not w.startswith(("iterations", "monitor", "sample_every"))]
FEW = ["protocol=quick", "protocol.num_real=64", "protocol.num_fake=64"]


def smaller(source):
    """The same on tiny networks and few images, in a few iterations."""
    tiny = ", ".join(f'"{word}"' for word in [*TINY, "iterations=3"])
    source = source.replace('"iterations=50"', tiny).replace("sample_every=50", "sample_every=3")
    source = source.replace("pictures()[50]", "pictures()[3]")
    return re.sub(r"(num_real|num_fake)=\d+", r"\1=64", source)


@pytest.fixture
def quick(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return [*QUICK, "sample_every=3"]


def test_the_package_itself_imports_nothing_heavy():
    looks = "import sys, saddlepoint; print({'torch', 'hydra', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", looks], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "set()"
    assert callable(saddlepoint.train) and callable(saddlepoint.load)


def test_train_score_and_compare(quick, capsys, tmp_path):
    run = saddlepoint.train(*quick)
    assert run.folder.parent.name == "outputs" and run.folder.name.startswith("r1_gan-seed0-")
    assert sorted(run.pictures()) == [0, 3, 6]
    assert run.scores == {} and "not scored" in str(run)
    scores = run.score(*FEW)
    assert run.scores == scores == run.records[-1]["scores"]
    assert torch.equal(run.generator.sample(4), saddlepoint.load("last").sample(4))
    named = saddlepoint.train(*quick, "run_name=other", "seed=1")
    assert named.folder.name == "other"
    named.score(*FEW)
    capsys.readouterr()
    saddlepoint.compare(run, named.folder)
    said = capsys.readouterr().out
    assert "avatars" in said and "r1_gan" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["gan=sngn"], "did you mean 'sngan'"),
        (["itertions=3"], "is no setting"),
        (["batch_size=0"], "batch_size=0 is not to be had"),
        (["ckpt=last"], r"go on with one by python train\.py"),
    ],
)
def test_mistakes_are_one_sentence_and_nothing_is_written(words, sentence, quick, tmp_path):
    with pytest.raises(UserError, match=sentence):
        saddlepoint.train(*quick, *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_stored(path, quick):
    stored = json.loads(path.read_text())
    ran, names = run_notebook(path, smaller)
    for before, now in zip(stored["cells"], ran["cells"], strict=True):
        kinds = [
            [(o["output_type"], sorted(o.get("data", ()))) for o in cell.get("outputs", ())]
            for cell in (before, now)
        ]
        assert kinds[0] == kinds[1], "".join(before["source"])
    assert ran["cells"][-1]["outputs"][-1]["data"]["text/plain"] == ["True"]
    assert path.stat().st_size < 250_000


def test_notebooks_are_of_the_format_s_fourth_version():
    for path in NOTEBOOKS:
        notebook = json.loads(path.read_text())
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
        names = [cell["id"] for cell in notebook["cells"]]
        assert len(set(names)) == len(names) and all(re.fullmatch(r"[\w-]{1,64}", n) for n in names)
        for cell in notebook["cells"]:
            needed = {"cell_type", "id", "metadata", "source"}
            needed |= {"outputs", "execution_count"} if cell["cell_type"] == "code" else set()
            assert cell.keys() == needed


def test_the_page_runs(quick):
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "from_python.md").read_text(), re.DOTALL
    )
    names = {}
    for block in blocks:
        exec(smaller(block), names)
    assert names["run"].scores and names["other"].scores
