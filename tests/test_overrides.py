"""Words of a command line on top of those of a run."""

import pytest
from train_cli import QUICK, train_here

from saddlepoint.runs import checkpoint_file
from saddlepoint.runs.overrides import merge


@pytest.mark.parametrize(
    ("stored", "given", "merged"),
    [
        (["a=1"], ["a=2"], ["a=2"]),
        (["b=1"], ["ckpt=last"], ["b=1", "ckpt=last"]),
        (["~a", "+a=1"], [], ["~a", "+a=1"]),
        (["~a", "+a=1"], ["a=2"], ["~a", "+a=2"]),
        (["~a", "+a=1"], ["+a=2"], ["~a", "+a=2"]),
        (["~a", "+a=1"], ["~a"], ["~a"]),
        (["~a"], ["a=2"], ["a=2"]),
        (["+a=1"], ["a=2"], ["+a=2"]),
        (["+a=1"], ["~a"], []),
        (["a=1", "b=2"], ["~a", "+a=3"], ["~a", "+a=3", "b=2"]),
        (["~a", "+a=1", "a.b=3"], ["a.b=4"], ["~a", "+a=1", "a.b=4"]),
    ],
)
def test_what_is_given_comes_on_top_and_a_deletion_before_an_addition_stays(stored, given, merged):
    assert merge(stored, given) == merged


def test_a_key_that_was_deleted_and_added_survives_resuming(tmp_path):
    optimizer = "+gan.generator_optimizer={_target_:torch.optim.SGD,_partial_:true,lr:0.01}"
    words = [*QUICK, "~gan.generator_optimizer", optimizer, f"output_dir={tmp_path}"]
    train_here([*words, "run_name=run", "iterations=2"])
    train_here([f"ckpt={tmp_path}/run", "iterations=4", "allow_changes=true"])
    content = checkpoint_file.load(tmp_path / "run")
    assert content["game"]["iteration"] == 4
    assert content["config"]["gan"]["generator_optimizer"] == {
        "_target_": "torch.optim.SGD",
        "_partial_": True,
        "lr": 0.01,
    }
