import shlex
import signal
import time

import pytest
import torch
from train_cli import QUICK, equal, finish, start, train_here

from saddlepoint import atomic
from saddlepoint.errors import UserError
from saddlepoint.leaderboard import read, tables
from saddlepoint.leaderboard.html_page import to_html
from saddlepoint.records.changes import MIDWAY, said_of_changes
from saddlepoint.records.reading import read_records
from saddlepoint.runs import checkpoint_file
from saddlepoint.runs.checkpoint_file import LAST
from saddlepoint.runs.trained_run import TrainedRun

STREAMED = ["datamodule.resident=false", "datamodule.num_workers=2"]
KINDS = {
    "moving average": ["gan.ema_half_life_kimg=0.05"],
    "term, workers": ["gan=ssgan", "network=lite", "gan.n_dis=2", *STREAMED],
    "penalty, flips": ["gan=wgan_gp", "network=mlp", "datamodule.flip=true"],
    "batch norm in the discriminator": ["gan=dcgan", "network=dcgan", "gan.n_dis=2"],
    "other players": ["gan=aae"],
    "an encoder, second derivatives": ["gan=gn_gan", "gan.reconstruction_share=0.05"],
    "gradients normalised": ["gan=gradnorm_gan", "network=lite", "gan.n_dis=2"],
    "two critics, holes": [
        *("experiment=edit_faces", "network.local_discriminator.width=16"),
        *("gan.adversarial_weight=1.0", "gan.class_weight=1.0"),
    ],
    "fed with images": ["gan=stargan", "network=stargan_lite", "gan.n_dis=2"],
    "episodes, workers": [
        *("gan=funit", "network=funit_small", "datamodule.of.flip=true", "datamodule.shots=2"),
        *("datamodule.of.resident=false", "datamodule.of.num_workers=2"),
    ],
    "a game within the game": [
        *("gan=few_shot_hair_reptile", "network.generator.blocks=1", "gan.inner_steps=2"),
        *("gan.adaptation_steps=1", "gan.shots=2"),
    ],
    "conditional, streamed here": ["gan=cgan_pd", "network=lite", "datamodule.resident=false"],
}


def settings(kind, folder):
    constant = ["gan.lr_schedule=constant"]  # a schedule depends on the length of the run
    return [*KINDS[kind], *QUICK, *constant, f"output_dir={folder}", "run_name=run"]


def assert_equal_runs(a, b):
    """Weights, moving average, optimisers, counters and the next samples, bit for bit."""
    runs = [TrainedRun.find(folder / "run", folder) for folder in (a, b)]
    assert equal(*(run.content["game"] for run in runs))
    games = [run.game() for run in runs]
    data = runs[0].data() if games[0].needs_data else None
    assert torch.equal(*(game.sample(game.inputs_at(range(4), data=data)) for game in games))


@pytest.mark.parametrize("kind", ["moving average", "term, workers"])
def test_a_killed_run_resumes_bit_for_bit(kind, tmp_path):
    """SIGKILL in the middle of an epoch (768 iterations), resume, compare with no interruption."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = start([*settings(kind, broken), "iterations=100000"])
    while not (broken / "run" / LAST).exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    at = checkpoint_file.load(broken / "run")["game"]["iteration"]
    assert 0 < at < 768

    train_here([*settings(kind, whole), f"iterations={at + 4}"])
    train_here([f"ckpt={broken}/run", f"iterations={at + 4}", "allow_changes=true"])
    assert_equal_runs(whole, broken)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_resumes_bit_for_bit(kind, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train_here([*settings(kind, whole), "iterations=5"])
    train_here([*settings(kind, broken), "iterations=3"])
    train_here([f"ckpt={broken}/run", "iterations=5", "allow_changes=true"])
    assert_equal_runs(whole, broken)


def test_sigterm_writes_a_checkpoint_and_ends_cleanly(tmp_path):
    process = start([*settings("moving average", tmp_path), "iterations=100000"])
    while not (tmp_path / "run" / LAST).exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    code, output, errors = finish(process)
    assert (code, errors) == (128 + signal.SIGTERM, "")
    assert f"python train.py ckpt={tmp_path}/run" in output
    assert checkpoint_file.load(tmp_path / "run")["game"]["iteration"] > 0


def test_last_is_the_newest_run_or_names_the_newest_that_is_unfinished(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        train_here([*QUICK, f"output_dir={tmp_path}", f"run_name={name}", f"seed={seed}"])
    last = [f"output_dir={tmp_path}", "ckpt=last"]
    with pytest.raises(UserError, match=r"b/checkpoints/last.ckpt has finished its 6.*true\.$"):
        train_here(last)
    (tmp_path / "a" / "finished.txt").unlink()
    with pytest.raises(UserError, match=rf"has finished.*python train.py ckpt={tmp_path}/a\.$"):
        train_here(last)
    with pytest.raises(UserError, match="differ: .*seed"):
        train_here([*last, "seed=0"])
    more = ["iterations=8", "allow_changes=true"]
    train_here([*last, *more])
    assert checkpoint_file.load(tmp_path / "b")["game"]["iteration"] == 8
    assert checkpoint_file.load(tmp_path / "a")["game"]["iteration"] == 6


def test_a_changed_setting_is_named_and_refused(tmp_path):
    train_here([*QUICK, f"output_dir={tmp_path}", "run_name=run"])
    with pytest.raises(UserError, match=r"gan\.n_dis \(1 -> 3\).*allow_changes=true"):
        train_here([f"ckpt={tmp_path}/run", "gan.n_dis=3"])
    with pytest.raises(UserError, match="has finished its 6 iterations"):
        train_here([f"ckpt={tmp_path}/run", "sample_every=7"])


def test_a_changed_setting_marks_the_run_in_its_records_and_on_the_leaderboard(tmp_path):
    scored = ["monitor=quick", "monitor.num_real=64", "monitor.num_fake=64", "score_every=2"]
    common = [*QUICK, *scored, f"output_dir={tmp_path}", "gan.lr_schedule=constant"]
    train_here([*common, "run_name=plain", "iterations=2"])
    train_here([*common, "run_name=run", "iterations=2"])
    change = [f"ckpt={tmp_path}/run", "iterations=4", "gan.n_dis=2", "allow_changes=true"]
    train_here(change)
    train_here([f"ckpt={tmp_path}/run", "iterations=6", "allow_changes=true"])

    commands = (tmp_path / "run" / "command.txt").read_text().splitlines()
    first, second, third = (line.partition("  # ") for line in commands)
    assert shlex.split(first[0])[2:] == [*common, "run_name=run", "iterations=2"]
    assert (shlex.split(second[0])[2:], first[2]) == (change, "")
    changed = "changed midway: gan.n_dis 1 -> 2, iterations 2 -> 4 at iteration 2"
    assert second[2] == f"resumed at iteration 2, {changed}"
    assert third[2] == "resumed at iteration 4, changed midway: iterations 4 -> 6 at iteration 4"

    mark = "gan.n_dis 1 -> 2, iterations 2 -> 4 at iteration 2; iterations 4 -> 6 at iteration 4"
    newest = read_records(tmp_path / "run" / "records.jsonl")[-1]["run"]
    assert said_of_changes(newest["changes"]) == mark
    assert TrainedRun.find(tmp_path / "run", tmp_path).content["changes"] == newest["changes"]
    found = tables(read([tmp_path]).runs, [])
    marked = [row.settings[MIDWAY] for row in found[0].rows if MIDWAY in row.settings]
    assert len(found[0].rows) == 2 and marked == [mark]
    page = to_html(found, [], [])
    assert "no command alone reproduces it" in page
    assert page.count('class="copy"') == 1


def test_metrics_go_on_in_one_file(tmp_path):
    common = [*QUICK, f"output_dir={tmp_path}", "run_name=run", "gan.log_every=2"]
    train_here(common)
    train_here([f"ckpt={tmp_path}/run", "iterations=8", "allow_changes=true"])
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["iteration", "2", "4", "6", "8"]


def whole(game):
    rest = {"config": {}, "overrides": [], "data": {}, "seconds": 1.0}
    return {**rest, "game": {"modules": game}}


def test_a_checkpoint_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    checkpoint_file.save(path, whole(1))

    def full(self, _):
        self.failure = OSError(28, "No space left on device")
        raise self.failure

    monkeypatch.setattr(atomic._Raw, "write", full)
    with pytest.raises(UserError, match=r"the disk is full.*resume with ckpt=last"):
        checkpoint_file.save(path, whole(2))
    assert checkpoint_file.load(path)["game"]["modules"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_what_is_no_checkpoint_of_ours_is_refused(tmp_path):
    class Code:
        def __reduce__(self):
            return (print, ("code from a checkpoint was run",))

    torch.save({"format": "other"}, tmp_path / "other.ckpt")
    torch.save(Code(), tmp_path / "code.ckpt")
    torch.save({"format": "saddlepoint", "version": 99, "written_by": "9.9"}, tmp_path / "new.ckpt")
    checkpoint_file.save(tmp_path / "torn.ckpt", whole(torch.zeros(1000)))
    (tmp_path / "torn.ckpt").write_bytes((tmp_path / "torn.ckpt").read_bytes()[:2000])
    for name, message in (
        ("other", "is not a Saddlepoint checkpoint"),
        ("code", "is not a Saddlepoint checkpoint"),
        ("new", r"format 99 .* reads 2: .*9\.9"),
        ("torn", "is damaged"),
        ("missing", "There is no checkpoint"),
    ):
        with pytest.raises(UserError, match=message):
            checkpoint_file.load(tmp_path / f"{name}.ckpt")
