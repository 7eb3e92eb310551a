"""Best checkpoints, the full protocol at the end of a run, and `evaluate.py`."""

import json
import logging

import pytest
import torch
from PIL import Image
from train_cli import QUICK, command, composed, train_here

from saddlepoint.datamodules.avatars import load_avatars
from saddlepoint.errors import UserError
from saddlepoint.extractors import inception
from saddlepoint.extractors.inception_weights import InceptionWeights
from saddlepoint.gans.moving_average import MovingAverage
from saddlepoint.leaderboard import command as leaderboard
from saddlepoint.records.reading import read_records
from saddlepoint.runs import checkpoint_file, evaluate
from saddlepoint.runs.build import game_of_checkpoint

ONLY_TRAINING = [
    *(word for word in QUICK if not word.startswith("monitor")),
    *("monitor=quick", "monitor.num_fake=64", "monitor.num_real=256", "score_every=1"),
]
SCORED = [
    *(word for word in ONLY_TRAINING if not word.startswith("protocol")),
    *("protocol=quick", "protocol.num_fake=96", "protocol.seeds=[0,1]"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    objective = train_here([*SCORED, f"output_dir={folder}", "run_name=run"])
    return folder / "run", objective


def by_protocol(folder):
    """Records while training, and those of the end."""
    records = read_records(folder / "records.jsonl")
    return (
        [r for r in records if r["protocol"]["num_fake"] == 64],
        [r for r in records if r["protocol"]["num_fake"] == 96],
    )


def test_best_checkpoint_is_kept_and_scored_with_the_last(run):
    folder, objective = run
    training, full = by_protocol(folder)
    assert [record["iteration"] for record in training] == [1, 2, 3, 4, 5, 6]
    best = min(training, key=lambda record: record["scores"]["FD/avatar-classifier"])["iteration"]
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == [f"best-{best:08d}.ckpt", "last.ckpt"]
    assert [record["iteration"] for record in full] == sorted({best, 6})
    content = checkpoint_file.load(folder / "checkpoints" / names[0])
    assert content["game"]["iteration"] == best
    assert objective == full[-1]["scores"]["FD/avatar-classifier"]
    for record in full:
        values = record["by_evaluation_seed"]["FD/avatar-classifier"]
        assert len(values) == 2 and values[0] != values[1]
        assert sum(values) / 2 == pytest.approx(record["scores"]["FD/avatar-classifier"])


def test_several_are_kept_and_none(tmp_path):
    for keep, expected in ((0, 0), (2, 2)):
        train_here([*ONLY_TRAINING, f"keep_best={keep}", f"output_dir={tmp_path}/{keep}"])
        assert len(list(tmp_path.glob(f"{keep}/*/checkpoints/best-*.ckpt"))) == expected


def test_resumed_run_knows_the_best_of_before(tmp_path):
    words = [*ONLY_TRAINING, f"output_dir={tmp_path}", "run_name=run"]
    train_here(words)
    folder = tmp_path / "run"
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    for record in records:  # as if the second iteration had been far better than any to come
        record["scores"]["FD/avatar-classifier"] = 1.0 if record["iteration"] == 2 else 9e9
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    kept = next((folder / "checkpoints").glob("best-*.ckpt"))
    kept.rename(kept.with_name("best-00000002.ckpt"))
    train_here([f"ckpt={folder}", "iterations=8", "allow_changes=true"])
    assert [p.name for p in (folder / "checkpoints").glob("best-*")] == ["best-00000002.ckpt"]


def test_checkpoint_is_scored_again_as_at_the_end_of_training(run, monkeypatch):
    folder, _ = run
    before = len(read_records(folder / "records.jsonl"))
    monkeypatch.setattr("saddlepoint.records.origin.commit", lambda: "another")
    config = composed([f"run={folder}"], "evaluate")  # under the run's own full protocol
    scores = evaluate.evaluate(config)
    *_, last, again = read_records(folder / "records.jsonl")
    assert len(read_records(folder / "records.jsonl")) == before + 1
    assert again["scores"] == pytest.approx(last["scores"], rel=1e-6)
    assert again["fingerprint"] == last["fingerprint"] and again["iteration"] == 6
    for what in ("run", "hardware", "commit"):  # who scores is not who trained
        assert again[what] == last[what], what
    assert scores.by_seed == again["by_evaluation_seed"]
    best = next((folder / "checkpoints").glob("best-*.ckpt"))
    words = [f"run={best}", "protocol=quick", "protocol.num_fake=32"]
    evaluate.evaluate(composed(words, "evaluate"))
    newest = read_records(folder / "records.jsonl")[-1]
    assert newest["protocol"]["name"] is None and newest["protocol"]["num_fake"] == 32
    assert newest["iteration"] == checkpoint_file.load(best)["game"]["iteration"]


def test_what_is_scored_is_the_moving_average(run):
    game = game_of_checkpoint(checkpoint_file.load(run[0]))
    assert isinstance(game.moving_average, MovingAverage)
    assert by_protocol(run[0])[1][-1]["protocol"]["generator"] == "ema"


def test_the_trained_weights_are_scored_too_where_asked(tmp_path):
    words = [*SCORED, "callbacks.final_scores.also_raw=true", "keep_best=0", "run_name=run"]
    objective = train_here([*words, f"output_dir={tmp_path}"])
    raw, averaged = by_protocol(tmp_path / "run")[1]
    assert [r["protocol"]["generator"] for r in (raw, averaged)] == ["raw", "ema"]
    assert raw["iteration"] == averaged["iteration"] and raw["scores"] != averaged["scores"]
    assert objective == averaged["scores"]["FD/avatar-classifier"]  # what searches go by
    assert set(raw["parameters"]) == {"generator", "discriminator"}


@pytest.fixture
def faces(tmp_path):
    """Two folders of faces, with a class a folder."""
    avatars = load_avatars()
    for name, part in (("A", range(40)), ("B", range(40, 90))):
        for k in part:
            folder = tmp_path / name / avatars.label.names[int(avatars.label.values[k])]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(avatars.image.values[k].permute(1, 2, 0).numpy()).save(
                folder / f"{k}.png"
            )
    return tmp_path


def test_two_folders_are_compared_and_enter_the_leaderboard(faces, capsys):
    words = [f"images={faces}/A", f"reference={faces}/B", "protocol=own_images", "title=theirs"]
    words += ["protocol.num_real=null", "protocol.num_fake=null", f"output_dir={faces}/outputs"]
    assert command(words, "evaluate.py") == 0
    assert "40 generated (images) against 50 real images of B" in " ".join(
        capsys.readouterr().out.split()
    )
    assert not logging.getLogger(
        "saddlepoint.evaluation.statistics_cache"
    ).disabled  # warnings are heard
    (line,) = read_records(faces / "outputs" / "evaluations" / "theirs" / "records.jsonl")
    assert line["run"]["title"] == "theirs" and line["kimg"] is None
    assert set(line["scores"]) == {
        f"{name}/random-features" for name in ("FD", "density", "coverage")
    }
    assert list(line["baselines"]) == ["25 real against 25 others"]
    same = [f"images={faces}/A", f"reference={faces}/A", *words[2:]]
    value = evaluate.evaluate(composed(same, "evaluate")).means
    assert value["FD/random-features"] == pytest.approx(0, abs=1e-6)
    assert value["coverage/random-features"] == 1
    leaderboard.main([str(faces / "outputs")])
    assert "theirs" in capsys.readouterr().out


def test_images_are_scored_against_a_data_set(faces):
    words = [f"images={faces}/A", "datamodule=avatars", "protocol=quick", "protocol.num_fake=40"]
    scores = evaluate.evaluate(composed([*words, f"output_dir={faces}/outputs"], "evaluate"))
    assert scores.protocol.num_real == 6144 and 0 < scores.means["FD/avatar-classifier"] < 200


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Say what to score"),
        (["images=A"], "give datamodule="),
        (["images=A", "reference=B", "datamodule=avatars"], "and not both"),
        (["images=A", "datamodule=avatars", "protocol=quick"], "5,000 generated images and there"),
        (["images=A", "reference=B", "protocol=none"], "no score"),
        (["images=A", "reference=B", "protocol=quick"], "drawn faces alone.*B would mean nothing"),
        (["images=A", "datamodule=avatars", "also_raw=true"], "Images have no weights"),
        (
            ["images=grey", "datamodule=avatars", *("protocol=quick", "protocol.num_fake=2")],
            "shape",
        ),
        (["images=flat", "datamodule=avatars", *("protocol=quick", "protocol.num_fake=2")], "same"),
        (["run=nowhere"], "no checkpoint nowhere"),
        (["run=last", "output_dir=nowhere"], "no run under nowhere"),
    ],
)
def test_mistakes_are_named(words, sentence, faces, monkeypatch):
    monkeypatch.chdir(faces)
    for folder, mode, colour in (("grey", "L", 7), ("flat", "RGB", (9, 9, 9))):
        (faces / folder).mkdir()
        for k in range(3):
            Image.new(mode, (32, 32), colour).save(faces / folder / f"{k}.png")
    with pytest.raises(UserError, match=sentence):
        evaluate.evaluate(composed(words, "evaluate"))
    assert not list(faces.rglob("records.jsonl"))


def test_scoring_leaves_training_as_it_is(tmp_path):
    weights = []
    for scores in (SCORED, QUICK):
        train_here([*scores, f"output_dir={tmp_path}/{len(scores)}", "run_name=run"])
        weights.append(checkpoint_file.load(tmp_path / str(len(scores)) / "run")["game"]["modules"])
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


@pytest.mark.parametrize(("weights", "sentence"), [(None, "none were found"), ("p", "classifier")])
def test_missing_weights_end_a_run_before_it_starts(weights, sentence, tmp_path, monkeypatch):
    found = weights and InceptionWeights(tmp_path / "p.pt", "a package", has_classifier=False)
    monkeypatch.setattr(inception, "find_inception_weights", lambda *_: found)
    few = ["protocol.num_real=6000", "protocol.num_fake=6000", "protocol.cache_dir=null"]
    with pytest.raises(UserError, match=sentence):
        words = [word for word in QUICK if not word.startswith("protocol")]
        train_here([*words, "protocol=mimicry_50k", *few, f"output_dir={tmp_path}/outputs"])
    assert not (tmp_path / "outputs").exists()


def test_points_are_scored_by_their_modes(tmp_path):
    words = ["datamodule=gaussians8", "network=mlp", "gan=sngan", *QUICK, "monitor=auto"]
    train_here([*words, f"output_dir={tmp_path}", "run_name=run"])
    scores = read_records(tmp_path / "run" / "records.jsonl")[-1]["scores"]
    assert set(scores) == {"FD/raw", "modes", "KL", "high_quality", "registered"}
    assert 0 <= scores["modes"] <= 8 and 0 <= scores["high_quality"] <= 1


def test_conditional_run_is_scored_class_by_class(tmp_path):
    train_here(["gan=cgan_pd", "network=lite", *QUICK, f"output_dir={tmp_path}", "run_name=run"])
    words = [
        f"run={tmp_path}/run",
        "protocol=quick",
        "+protocol.scores.intra_fid={per_class: true}",
    ]
    few = ["protocol.num_real=600", "protocol.num_fake=300"]
    scores = evaluate.evaluate(composed([*words, *few], "evaluate")).means
    classes = load_avatars().label.names
    each = [scores[f"intra-FD {name}/avatar-classifier"] for name in classes]
    assert scores["intra-FD/avatar-classifier"] == pytest.approx(sum(each) / len(classes))
    assert len(set(each)) == len(classes)


def test_pairs_are_refused_before_a_run_that_is_fed_latents_writes_anything(tmp_path):
    words = [*ONLY_TRAINING, "+monitor.scores.psnr={}", f"output_dir={tmp_path}/outputs"]
    with pytest.raises(UserError, match="psnr compares each output with the image"):
        train_here(words)
    assert not (tmp_path / "outputs").exists()
