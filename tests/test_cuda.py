"""What only a GPU can show; skipped where there is none."""

import pytest
import torch
from train_cli import QUICK, equal, train_here

from saddlepoint.runs import checkpoint_file

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
GPU = [word for word in QUICK if word != "trainer=cpu"] + ["trainer=gpu"]
METHODS = ["sngan", "ssgan", "wgan_gp", "cgan_pd", "sagan", "dcgan"]


@pytest.mark.parametrize("method", METHODS)
def test_an_iteration_waits_for_nothing(method, tmp_path, monkeypatch):
    """No copy to the host and no synchronisation inside `play`."""
    from saddlepoint.gans import Game

    play = Game.play

    def watched(self, block):
        if self.iteration < 2:  # the first calls load kernels and choose algorithms
            return play(self, block)
        torch.cuda.set_sync_debug_mode("error")
        try:
            return play(self, block)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Game, "play", watched)
    quiet = ["iterations=6", "gan.log_every=100", "checkpoint_every=100"]
    monkeypatch.setattr(Game, "read_losses", lambda self: None)
    train_here([f"gan={method}", *GPU, *quiet, f"output_dir={tmp_path}"])


@pytest.mark.parametrize("method", METHODS)
def test_a_run_resumes_bit_for_bit_on_deterministic_cuda(method, tmp_path):
    deterministic = ["trainer.deterministic=true", "trainer.benchmark=false"]
    common = [f"gan={method}", *GPU, *deterministic, "gan.lr_schedule=constant"]
    train_here([*common, f"output_dir={tmp_path}/whole", "run_name=run", "iterations=8"])
    train_here([*common, f"output_dir={tmp_path}/broken", "run_name=run", "iterations=4"])
    train_here([f"ckpt={tmp_path}/broken/run", "iterations=8", "allow_changes=true"])
    whole, broken = (checkpoint_file.load(tmp_path / name / "run") for name in ("whole", "broken"))
    assert equal(whole["game"], broken["game"])


def test_bfloat16_and_float32_agree_on_the_first_losses(tmp_path):
    losses = []
    for precision in ("32", "bf16"):
        folder = tmp_path / precision
        short = ["iterations=1", "gan.log_every=1", f"gan.precision={precision}"]
        train_here(["gan=sngan", *GPU, *short, f"output_dir={folder}", "run_name=run"])
        header, row = (folder / "run" / "metrics.csv").read_text().splitlines()[:2]
        losses.append(dict(zip(header.split(","), map(float, row.split(",")), strict=True)))
    for name in ("discriminator/adversarial", "generator/adversarial"):
        assert losses[0][name] == pytest.approx(losses[1][name], abs=0.05)
