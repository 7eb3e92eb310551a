"""What is asked and refused before anything heavy is imported, and that it is the same after."""

import json
import os
import subprocess
import sys

import pytest
from light_process import described
from lightning_fabric.utilities.rank_zero import _get_rank
from omegaconf import OmegaConf
from test_commands import commands
from train_cli import QUICK, ROOT, composed

from saddlepoint import outline, schema
from saddlepoint.runs.command_line import SYNONYMS, nearest_settings
from saddlepoint.runs.help import topics
from saddlepoint.runs.rank import SAID_BY, launched_rank
from saddlepoint.runs.settings import COMMANDS
from saddlepoint.runs.trust import shipped

#: Classes of libraries that settings may name besides those under conf/.
LIBRARIES = [
    *("torch.optim.AdamW", "pytorch_lightning.callbacks.ModelSummary"),
    *("pytorch_lightning.strategies.DDPStrategy", "pytorch_lightning.loggers.CSVLogger"),
]


def light_process(kind, asked):
    """Run tests/light_process.py; returns its answer, what is heavy in it, and its two streams."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "light_process.py"), kind, json.dumps(asked)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COMP_LINE": "python train.py gan.n_", "COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stderr
    return *json.loads(done.stdout.splitlines()[-1]), done.stdout, done.stderr


def test_help_completion_and_refusals_import_neither_torch_nor_lightning():
    written = [
        [command, *words]
        for command in ("train", "evaluate", "sample", "train_extractor", "leaderboard")
        for words in commands("python", f"{command}.py")
        if "--help" in words
    ]
    assert len({command for command, *_ in written}) == 5
    helps = [
        *written,
        ["train", "--help", "gan.n_dis", "trainer.precision", "gan=wgan_gp"],
        ["download", "--help"],
        ["train", "-sc", "query=bash"],
    ]
    wrong = [
        ["train", "gan=sngann"],
        ["train", "learning_rate=1"],
        ["train", "gan.n_dis=0"],
        ["train", "network.generator.width=wide"],
        ["train", "+network.generator.widht=3"],
        ["sample", "what=grids"],
        ["evaluate", "protocol=mimicry"],
    ]
    codes, heavy, output, errors = light_process("codes", helps + wrong)
    assert codes == len(helps) * [0] + len(wrong) * [2], errors
    assert heavy == []
    assert "gan.n_dis=" in output.split()  # completed
    assert "what: grid\n  the picture; images:" in output
    assert "trainer.precision: not set\n" in output and "+trainer.precision=" in output
    sentences = errors.splitlines()
    assert len(sentences) == len(wrong) and all(line.startswith("error: ") for line in sentences)
    assert max(map(len, output.splitlines()[:-1])) <= 100


def test_outlines_say_what_the_imported_classes_say():
    names = sorted(shipped()) + LIBRARIES
    read, heavy, _, _ = light_process("outlines", names)
    assert heavy == []
    compared = 0
    for name in names:
        target = schema.target_of(name)
        if target is None or name.startswith("optuna."):  # not installed; hides its types
            continue
        compared += 1
        settings, takes_anything = described(target)
        assert read[name] is not None, name
        assert read[name][1] == takes_anything, name
        assert read[name][0].keys() == settings.keys(), name
        for setting, (*facts, default) in settings.items():
            *facts_read, default_read = read[name][0][setting]
            assert facts_read == facts, f"{name}: {setting}"
            assert default_read in (default, True), f"{name}: {setting}"
    assert compared > 130


def test_what_a_source_does_not_show_is_left_to_the_import(tmp_path, monkeypatch):
    (tmp_path / "made_up.py").write_text(
        "import torch\n"
        "from typing import Literal\n"
        "KINDS = Literal['a', 'b']\n"
        "class Base:\n"
        "    def __init__(self, size: int = 3, net: 'torch.nn.Module' = None): ...\n"
        "class Mine(Base):\n"
        "    '''Mine.\n\n    Args:\n        kind: which.\n    '''\n"
        "    def __init__(self, kind: KINDS = 'a', **settings): ...\n"
        "    @classmethod\n"
        "    def of(cls, number: float = 0.5): ...\n"
        "class Broken(nowhere.Base):\n"
        "    def __init__(self, **settings): ...\n"
        "locals()['hidden'] = lambda x: x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    mine = schema.settings_of(outline.outline_of("made_up.Mine"))
    assert {name: setting.words for name, setting in mine.items()} == {
        "kind": "a or b",
        "size": "a whole number",
        "net": "a mapping with a _target_ or null",
    }
    assert mine["kind"].meaning == "which."
    assert list(schema.settings_of(outline.outline_of("made_up.Mine.of"))) == ["number"]
    assert schema.takes_anything(outline.outline_of("made_up.Broken"))
    for name in ("made_up.hidden", "made_up.Missing", "nowhere.at.All", "made_up", 3):
        assert outline.outline_of(name) is None
    wrong = {"mine": {"_target_": "made_up.Mine", "kind": "c"}, "no": {"_target_": "made_up.No"}}
    found = list(schema.problems(wrong, imports=False))
    assert found == ["mine.kind=c is not to be had: give a or b (which)."]
    assert "made_up" not in sys.modules


def default_settings():
    """Names of all settings of the four commands, as they are without further words."""
    found = {
        command: topics(OmegaConf.to_container(composed([], command), resolve=True), owner)
        for command, owner in COMMANDS.items()
    }
    return {topic.name for known in found.values() for topic in known}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *(("lr", "gan.generator_optimizer.lr"), ("batch", "batch_size"), ("x", None)),
        *(("epochs", "iterations"), ("n_critic", "gan.n_dis"), ("dataset", "datamodule")),
        *(("z_dim", "network.generator.latent_dim"), ("seeed", "seed"), ("wombat", None)),
        ("beta1", "gan.generator_optimizer.betas"),
    ],
)
def test_suggestions_are_what_was_meant(typed, meant):
    assert next(iter(nearest_settings(typed, sorted(default_settings()))), None) == meant


def test_every_synonym_is_of_a_setting_that_there_is_and_is_none_itself():
    known = default_settings()
    assert set(SYNONYMS) - known <= {"datamodule.resolution"}  # of own images
    others = [word for words in SYNONYMS.values() for word in words]
    assert len(others) == len(set(others))
    top = {key for key in composed([]) if isinstance(key, str)}
    assert not top & set(others)


LIGHTNING = """
import sys
import saddlepoint.gans
early = {name for name in ("torchvision", "scipy") if name in sys.modules}
import torchmetrics
from torchmetrics import Accuracy, Metric
assert Metric is sys.modules["torchmetrics.metric"].Metric
assert Accuracy is torchmetrics.classification.Accuracy and issubclass(Accuracy, Metric)
assert torchmetrics.functional.accuracy and set(torchmetrics.__all__) <= set(dir(torchmetrics))
try:
    torchmetrics.nothing
except AttributeError as error:
    print(sorted(early), error)
"""


def test_lightning_comes_without_the_metrics_which_are_there_when_they_are_asked_for():
    done = subprocess.run(
        [sys.executable, "-c", LIGHTNING], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[] module 'torchmetrics' has no attribute 'nothing'\n"


RUN = """
import gc, sys
from saddlepoint.runs import console, entrance
console.run("train")
assert gc.isenabled()
frozen = gc.get_freeze_count()
entrance._work("train")
assert 0 < frozen == gc.get_freeze_count()
heavy = ("torch._dynamo.eval_frame", "triton", "torchvision", "matplotlib", "sklearn")
print([name for name in heavy if name in sys.modules])
"""


def test_a_run_on_images_imports_no_compiler_and_nothing_for_plots(tmp_path):
    words = [*QUICK, "iterations=2", "sample_every=1", f"output_dir={tmp_path}", "run_name=run"]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "run" / "samples" / "final.png").exists()


@pytest.mark.parametrize("said", [{}, {"LOCAL_RANK": "2"}, {"SLURM_PROCID": "3", "RANK": "1"}])
def test_the_rank_is_what_lightning_takes_it_for(said, monkeypatch):
    for name in SAID_BY:
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert launched_rank() == (_get_rank() or 0)
