"""Two processes train what one would."""

import pytest
import torch
from train_cli import finish, start

from saddlepoint.runs import checkpoint_file

#: Networks without batch norm, whose statistics are each process's own; and plain gradient descent,
#: which does not blow up the rounding of sums in another order.
COMMON = [
    *("monitor=none", "run_name=run", "gan.precision=32", "gan.n_dis=2"),
    *("gan.discriminator_optimizer={_target_:torch.optim.SGD,_partial_:true,lr:RATE}",),
    *("gan.generator_optimizer={_target_:torch.optim.SGD,_partial_:true,lr:RATE}",),
]
GAMES = {
    "latents": [
        *("gan=sngan", "datamodule=gaussians8", "network=mlp", "iterations=5", "batch_size=16"),
        *(word.replace("RATE", "0.1") for word in COMMON),
    ],
    # Its targets are those of the whole batch in another order.
    "images": [
        *("gan=stargan", "network=stargan_lite", "iterations=2", "batch_size=4"),
        *("network.generator.width=4", "network.discriminator.width=4"),
        *(word.replace("RATE", "0.01") for word in COMMON),
    ],
}


def sgd(words):
    """Replace both optimisers; Hydra merges dictionaries, so Adam's own arguments go first."""
    gone = [f"~gan.{player}_optimizer" for player in ("discriminator", "generator")]
    kept = [word.replace("gan.", "+gan.", 1) if "_optimizer=" in word else word for word in words]
    return [*gone, *kept]


@pytest.mark.parametrize("game", GAMES)
def test_two_processes_equal_one(game, tmp_path):
    words = GAMES[game]
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    commands = {
        "one": [*sgd(words), "trainer=cpu", f"output_dir={tmp_path}/one"],
        "two": [*sgd(words), *ddp, f"output_dir={tmp_path}/two"],
    }
    for command in commands.values():
        code, _, errors = finish(start(command))
        assert code == 0, errors
    one, two = (checkpoint_file.load(tmp_path / name / "run")["game"] for name in commands)
    assert one["images_shown"] == two["images_shown"] > 0
    for name, tensor in one["modules"].items():
        assert torch.allclose(tensor, two["modules"][name], atol=1e-6), name
