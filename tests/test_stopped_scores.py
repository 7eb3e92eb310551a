"""A run that is stopped in a score says what is missing, and makes it up when it is resumed."""

import csv
import os
import random
import signal

import pytest
from train_cli import QUICK, command, equal

from saddlepoint.evaluation.image_pass import ImagePass
from saddlepoint.gans import Game
from saddlepoint.records.reading import read_records
from saddlepoint.runs import checkpoint_file

#: Scores every two iterations, and full ones of the best and the last generator at the end.
SCORED = [
    *QUICK,
    *("monitor=quick", "monitor.num_real=60", "monitor.num_fake=60", "monitor.batch_size=20"),
    *("protocol=quick", "protocol.num_real=80", "protocol.num_fake=80", "protocol.batch_size=20"),
    *("score_every=2", "run_name=run"),
]
#: Batches of one side of a score.
MONITOR, FINAL = 3, 4


@pytest.fixture
def signals(monkeypatch):
    """Send this process a signal in the k-th batch that is scored; {k: signal}."""
    due, plain = {"seen": 0}, ImagePass._quantise

    def quantise(self, images, extractor):
        due["seen"] += 1
        if due["seen"] in due:
            os.kill(os.getpid(), due[due["seen"]])
        return plain(self, images, extractor)

    monkeypatch.setattr(ImagePass, "_quantise", quantise)
    return due


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert command([*SCORED, f"output_dir={folder}"]) == 0
    return folder / "run"


def scores_of(run):
    keys = ("iteration", "kimg", "fingerprint", "scores")
    return [[record[key] for key in keys] for record in read_records(run / "records.jsonl")]


def assert_same(run, undisturbed):
    assert scores_of(run) == scores_of(undisturbed)
    assert equal(*(checkpoint_file.load(folder)["game"] for folder in (run, undisturbed)))
    names = [sorted(p.name for p in folder.rglob("*.ckpt")) for folder in (run, undisturbed)]
    assert names[0] == names[1]
    rows = [csv.DictReader((folder / "metrics.csv").open()) for folder in (run, undisturbed)]
    assert list(rows[0]) == list(rows[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_final_scores_are_given_up_and_made_up(number, signals, tmp_path, undisturbed, capfd):
    signals[MONITOR + 3 * MONITOR + FINAL + 2] = number
    assert command([*SCORED, f"output_dir={tmp_path}"]) == 128 + number
    output = capfd.readouterr().out
    assert f"stopped by {number.name}" in output and "final scores" in output
    assert f"make them up with: python train.py ckpt={tmp_path}/run" in output
    assert len(scores_of(tmp_path / "run")) == 3  # those while training

    assert command([f"ckpt={tmp_path}/run"]) == 0
    assert "finished" in capfd.readouterr().out
    assert_same(tmp_path / "run", undisturbed)

    seen = signals["seen"]
    assert command([f"ckpt={tmp_path}/run"]) == 2
    assert "has finished its 6 iterations" in capfd.readouterr().err
    assert signals["seen"] == seen


def test_stopped_in_any_batch_of_any_score(signals, tmp_path, undisturbed, capfd):
    rng = random.Random(3)
    words, held = [*SCORED, f"output_dir={tmp_path}"], 0
    # Of the reals before training, of scores after 2 and 4 iterations, and of the final reals.
    for batch in (rng.randint(1, 3), rng.randint(4, 6), rng.randint(7, 9), rng.randint(10, 16)):
        number = rng.choice([signal.SIGTERM, signal.SIGINT])
        signals.clear()
        signals.update({"seen": 0, batch: number})
        held += command(words) == 128 + number and "stopped by" in capfd.readouterr().out
        words = [f"ckpt={tmp_path}/run"]
    print(f"runs stopped in a score: 4 tried, {held} held")
    assert held == 4
    signals.clear()
    signals["seen"] = 0
    assert command(words) == 0
    assert_same(tmp_path / "run", undisturbed)


@pytest.mark.parametrize("words", [SCORED, QUICK], ids=["scores", "no scores"])
def test_a_signal_in_the_last_iteration(words, tmp_path, monkeypatch, undisturbed, capfd):
    plain = Game.play

    def play(self, block):
        plain(self, block)
        if self.iteration == self.iterations:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Game, "play", play)
    code = command([*words, f"output_dir={tmp_path}"])
    output = capfd.readouterr().out
    if words is QUICK:
        assert code == 0 and "finished" in output
    else:
        assert code == 143 and "scores of iteration 6, final scores" in output
        assert command(["ckpt=last", f"output_dir={tmp_path}"]) == 0
        assert_same(tmp_path / "run", undisturbed)
    assert command(["ckpt=last", f"output_dir={tmp_path}"]) == 2
    assert "has finished" in capfd.readouterr().err
