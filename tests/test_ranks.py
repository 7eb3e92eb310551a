"""Two processes train what one would."""

import torch
from train_cli import finish, start

from saddlepoint.runs import checkpoint_file

#: Networks without batch norm, whose statistics are each process's own; and plain gradient descent,
#: which does not blow up the rounding of sums in another order.
GAME = [
    *("datamodule=gaussians8", "network=mlp", "iterations=5", "batch_size=16", "monitor=none"),
    *("gan=sngan", "gan.n_dis=2", "run_name=run", "gan.precision=32"),
    *("gan.discriminator_optimizer={_target_:torch.optim.SGD,_partial_:true,lr:0.1}",),
    *("gan.generator_optimizer={_target_:torch.optim.SGD,_partial_:true,lr:0.1}",),
]


def sgd(words):
    """Replace both optimisers; Hydra merges dictionaries, so Adam's own arguments go first."""
    gone = [f"~gan.{player}_optimizer" for player in ("discriminator", "generator")]
    kept = [word.replace("gan.", "+gan.", 1) if "_optimizer=" in word else word for word in words]
    return [*gone, *kept]


def test_two_processes_equal_one(tmp_path):
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    commands = {
        "one": [*sgd(GAME), "trainer=cpu", f"output_dir={tmp_path}/one"],
        "two": [*sgd(GAME), *ddp, f"output_dir={tmp_path}/two"],
    }
    for command in commands.values():
        code, _, errors = finish(start(command))
        assert code == 0, errors
    one, two = (checkpoint_file.load(tmp_path / name / "run")["game"] for name in commands)
    assert one["images_shown"] == two["images_shown"] == 5 * 2 * 16
    for name, tensor in one["modules"].items():
        assert torch.allclose(tensor, two["modules"][name], atol=1e-6), name
