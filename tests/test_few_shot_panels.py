"""What few-shot runs show: contents by target classes, and pictures of a user's own."""

import numpy as np
import pytest
import torch
from pictures import picture, put
from PIL import Image
from train_cli import QUICK, command, composed, train_here

from saddlepoint.datamodules.own_picture import read_pictures
from saddlepoint.errors import UserError
from saddlepoint.runs.panels.few_shot import target_classes, translate
from saddlepoint.runs.panels.panel import Subject
from saddlepoint.runs.pictures import GAP, picture_of
from saddlepoint.runs.trained_run import TrainedRun

AMORTISED = ["gan=funit", "network=funit_small", "gan.shots=2"]
REPTILE = [
    *("gan=few_shot_hair_reptile", "network.generator.blocks=1", "gan.inner_steps=1"),
    *("gan.adaptation_steps=1", "gan.shots=2"),
]
TILE = 64 + GAP


@pytest.fixture(scope="module", params=[AMORTISED, REPTILE], ids=["funit", "reptile"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    targets = "datamodule.targets=[red_hair,blue_hair]"
    train_here([*request.param, *QUICK, targets, "iterations=1", f"output_dir={folder}"])
    return next(path for path in folder.iterdir() if path.name.startswith("avatars"))


@pytest.fixture
def own(tmp_path):
    put(tmp_path / "own", {"me.png": picture(0, (40, 50))})
    shots = {f"{i}.png": picture(i + 1, (32, 32)) for i in range(3)}
    put(tmp_path / "shots", shots)
    return tmp_path


def subject(run, **settings):
    words = [f"run={run}", *(f"{name}={value}" for name, value in settings.items())]
    return Subject(TrainedRun.find(run, run.parent), composed(words, "sample"))


def test_contents_are_shown_as_every_target_class(run):
    shown = subject(run, what="target_classes", columns=3)
    panel = target_classes(shown)
    assert panel.picture.size == (4 * TILE + GAP, 3 * TILE + GAP)
    assert panel.notes == ("Rows, from the second on: red_hair, blue_hair.",)
    game, data = shown.game, shown.data
    inputs = game.task.shown(range(3), 0, data, 1)
    row = torch.cat([inputs.shots[0, :1], game.sample(inputs)])
    lowest = np.asarray(panel.picture)[2 * TILE :]
    assert np.array_equal(lowest, np.asarray(picture_of(row, 4)))
    assert (inputs.target == len(data.source_classes) + 1).all()
    contents = np.asarray(panel.picture)[: TILE + GAP, TILE:]
    assert np.array_equal(contents, np.asarray(picture_of(inputs.image, 3)))


def test_a_picture_of_ones_own_is_drawn_like_a_folder_of_others(run, own):
    shown = subject(run, what="translate", image=own / "own" / "me.png", shots=own / "shots")
    image, shots = (read_pictures(own / name, (3, 32, 32)) for name in ("own", "shots"))
    game = shown.game
    inputs = game.task.given(image, shots, shown.data)
    expected = picture_of(game.task.columns(inputs, game.sample(inputs)))
    assert translate(shown).picture.tobytes() == expected.tobytes()


def test_it_is_a_command(run, own):
    words = [f"run={run}", "what=translate", f"image={own}/own", f"shots={own}/shots"]
    assert command([*words, f"output={own}/out.png"], "sample.py") == 0
    assert Image.open(own / "out.png").size[0] > 5 * TILE


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({}, "image=<file> and shots=<folder>"), ({"image": "no.png", "shots": "no"}, "no.png")],
)
def test_missing_pictures_are_named(run, settings, sentence):
    with pytest.raises(UserError, match=sentence):
        translate(subject(run, what="translate", **settings))


def test_other_runs_have_no_examples(tmp_path):
    train_here([*QUICK, "iterations=1", f"output_dir={tmp_path}", "run_name=plain"])
    for panel in (target_classes, translate):
        with pytest.raises(UserError, match="needs a few-shot translation"):
            panel(subject(tmp_path / "plain", what="translate"))
