"""What a file may make: a stranger's checkpoint calls nothing and resolves nothing."""

import copy
import os
import random

import pytest
from omegaconf import OmegaConf
from train_cli import QUICK, command, train_here

from saddlepoint.errors import UserError
from saddlepoint.runs import checkpoint_file
from saddlepoint.runs.overrides import resolved
from saddlepoint.runs.trained_run import TrainedRun
from saddlepoint.runs.trust import check_settings_of_file, is_allowed, shipped, targets

#: What runs code, writes files or reaches the network, by ways that are open and by detours.
DANGEROUS = (
    *("os.system", "subprocess.run", "pathlib.Path.write_text", "torch.hub.load", "builtins.eval"),
    *("shutil.rmtree", "saddlepoint.atomic.whole_file", "saddlepoint.atomic.write_text"),
    *("saddlepoint.runs.command_line.os.system", "saddlepoint.gans.game.torch.hub.load"),
    *("saddlepoint.datamodules.archive.os.remove", "saddlepoint.gans.game.pl.Trainer.fit"),
    *("saddlepoint.extractors.trained_classifier.read_classifier", "saddlepoint.gans"),
    *("torch.optim.lr_scheduler.os.system", "torch.load", "torch.optim.Adam.load_state_dict"),
    *("pytorch_lightning.utilities.model_helpers.os.system", "hydra.utils.instantiate"),
    *("saddlepointx.gans.SNGAN", "saddlepoint.gansx.SNGAN", "", None, 7, ["os.system"]),
)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train_here([*QUICK, "iterations=2", f"output_dir={folder}", "run_name=run"])
    return checkpoint_file.load(folder / "run")


def written(tmp_path, content, **changes):
    path = tmp_path / "run" / checkpoint_file.LAST
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint_file.save(path, {**content, **changes})
    return path


@pytest.mark.parametrize("target", DANGEROUS, ids=str)
def test_a_dangerous_target_is_refused_wherever_it_stands(target, content):
    assert not is_allowed(target, ())
    rng = random.Random(str(target))
    tried = 0
    for _ in range(25):
        config = copy.deepcopy(content["config"])
        node = config
        while (below := [v for v in node.values() if isinstance(v, dict)]) and rng.random() < 0.7:
            node = rng.choice(below)
        node[rng.choice(["x", *node])] = [{"deep": {"_target_": target}}]
        with pytest.raises(UserError, match="which a file may not"):
            check_settings_of_file(config, (), "it")
        tried += 1
    assert tried == 25


def test_what_a_run_writes_is_allowed(content):
    named = list(targets(content["config"]))
    assert len(named) > 8
    check_settings_of_file(content["config"], (), "it")
    assert all(is_allowed(target, ()) for target in shipped())
    for target in ("torch.optim.RMSprop", "pytorch_lightning.callbacks.Timer"):
        assert is_allowed(target, ())
    assert is_allowed("saddlepoint.losses.schedule.Piecewise", ())
    assert is_allowed("my_package.Mine", ["my_package"])
    assert not is_allowed("my_package_too.Mine", ["my_package"])


@pytest.mark.parametrize("script", ["evaluate.py", "sample.py", "train.py"])
def test_the_attack_runs_nothing(script, content, tmp_path, capfd):
    proof = tmp_path / "proof"
    config = copy.deepcopy(content["config"])
    config["datamodule"]["flip"] = {"_target_": "os.mkdir", "path": str(proof)}
    path = written(tmp_path, content, config=config)
    words = [f"ckpt={path}" if script == "train.py" else f"run={path}", "output_dir=out"]
    words += ["iterations=4"] if script == "train.py" else []
    assert command(words, script) == 2
    errors = capfd.readouterr().err
    assert "wants to call os.mkdir, which a file may not: do not use that file" in errors
    assert not proof.exists()


def test_a_stored_command_line_is_held_to_the_same(content, tmp_path, capfd):
    proof = tmp_path / "proof"
    evil = [
        f"+datamodule.flip={{_target_:os.mkdir,path:{proof}}}",
        "hydra.searchpath=[pkg://antigravity]",
        "hydra.searchpath=[/tmp]",
        "run_name=${oc.env:HOME}",
        "run_name=$\\{oc.env:HOME\\}",
    ]
    sentences = ("os.mkdir", "pkg://antigravity", "from /tmp", "resolving", "resolving")
    for word, sentence in zip(evil, sentences, strict=True):
        path = written(tmp_path, content, overrides=[*content["overrides"], word])
        assert command([f"ckpt={path}", "iterations=4", "allow_changes=true"]) == 2
        assert sentence in capfd.readouterr().err
    assert not proof.exists()


def test_a_resolver_in_a_file_is_not_resolved(content, tmp_path):
    config = {**content["config"], "run_name": "${oc.env:HOME}"}
    run = TrainedRun(written(tmp_path, content, config=config))
    with pytest.raises(UserError, match="wants resolving") as refusal:
        _ = run.content
    assert os.environ["HOME"] not in str(refusal.value)


def test_what_is_typed_is_resolved_when_the_run_starts(monkeypatch):
    monkeypatch.setenv("SCRATCH", "/it's\\here")
    words = ["data_dir=${oc.env:SCRATCH}", "seed=1", "+x=[${seed},null,true,'${oc.env:SCRATCH}']"]
    config = OmegaConf.create({"data_dir": "/it's\\here", "seed": 1, "x": [1, None, True, "a"]})
    assert resolved(words, config) == [
        "data_dir='/it\\'s\\\\here'",
        "seed=1",
        "+x=[1,null,true,'a']",
    ]
