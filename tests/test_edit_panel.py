"""`sample.py what=edit` and `what=attributes`: of a user's own picture, and of held-out ones."""

import numpy as np
import pytest
import torch
from PIL import Image
from train_cli import QUICK, command, composed, train_here

from saddlepoint.datamodules.own_picture import read_pictures
from saddlepoint.errors import UserError
from saddlepoint.runs.panels import PANELS
from saddlepoint.runs.panels.panel import Subject
from saddlepoint.runs.pictures import to_uint8
from saddlepoint.runs.sample import sample
from saddlepoint.runs.trained_run import TrainedRun

RUNS = {
    "ati_gan": ["experiment=edit_faces", "network.local_discriminator.width=8"],
    "stargan": ["experiment=edit_faces_stargan"],
    "sngan": ["network=lite"],
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    for name, words in RUNS.items():
        quick = [*QUICK, "iterations=1", "batch_size=4", f"output_dir={folder}"]
        train_here([*words, *quick, f"run_name={name}"])
    return folder


@pytest.fixture
def face(tmp_path):
    """A photograph of no particular size."""
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "face.png")
    return tmp_path / "face.png"


def settings(outputs, run, *words):
    return composed([f"run={outputs}/{run}", *words], "sample")


def test_the_edited_picture_is_the_own_one_outside_the_hole_in_the_file(outputs, face, tmp_path):
    config = settings(
        outputs, "ati_gan", "what=edit", f"image={face}", "attribute=smiling", "box=[8,18,24,28]"
    )
    config.output = str(tmp_path / "edit.png")
    assert sample(config) == tmp_path / "edit.png"
    edited = torch.from_numpy(np.array(Image.open(tmp_path / "edit-after.png")))
    own = to_uint8(read_pictures(face, (3, 32, 32)))[0].permute(1, 2, 0)
    hole = torch.zeros(32, 32, dtype=torch.bool)
    hole[18:28, 8:24] = True
    assert torch.equal(edited[~hole], own[~hole])
    assert not torch.equal(edited[hole], own[hole])


def test_without_a_box_the_hole_is_the_mean_one_of_the_region(outputs, face):
    subject = Subject(
        TrainedRun.find(outputs / "ati_gan", outputs),
        settings(outputs, "ati_gan", "what=edit", f"image={face}", "attribute=glasses", "has=[]"),
    )
    condition = subject.game.condition
    panel = PANELS["edit"](subject)
    assert panel.notes == ()  # it was told what the picture has
    assert list(panel.more) == ["after"] and panel.more["after"].size == (32, 32)
    before, after = read_pictures(face, (3, 32, 32))[0], np.array(panel.more["after"])
    changed = (to_uint8(before).permute(1, 2, 0).numpy() != after).any(2)
    rows, columns = np.nonzero(changed)
    left, top, right, bottom = condition.boxes[condition.regions.index("eyes")].tolist()
    assert left - 1 <= columns.min() and columns.max() + 0.5 <= right
    assert top - 1 <= rows.min() and rows.max() + 0.5 <= bottom
    mean = torch.cat([items.boxes for items in subject.data.real_batches(1024)]).mean(0)
    torch.testing.assert_close(condition.boxes, mean)


@pytest.mark.parametrize(
    ("words", "own", "asked"),
    [
        (["attribute=smiling", "has=[]"], 0, 1),
        (["attribute=smiling", "has=[smiling]"], 1, 0),
        (["attribute=smiling", "has=[smiling]", "value=true"], 0, 1),
        (["attribute=smiling", "has=[]", "value=false"], 1, 0),
    ],
)
@pytest.mark.parametrize("run", ["ati_gan", "stargan"])
def test_what_is_asked_is_the_other_value_or_the_one_wanted(
    run, words, own, asked, outputs, face, monkeypatch
):
    subject = Subject(
        TrainedRun.find(outputs / run, outputs),
        settings(outputs, run, "what=edit", f"image={face}", *words),
    )
    fed = []
    monkeypatch.setattr(
        subject.game, "sample", lambda inputs: (fed.append(inputs), inputs.image)[1]
    )
    PANELS["edit"](subject)
    number = subject.game.condition.names.index("smiling")
    assert fed[0].attributes[0, number] == own
    assert fed[0].target[0, number] == asked
    assert (fed[0].target != fed[0].attributes).sum() == 1


def test_what_the_picture_shows_is_said(outputs, face):
    config = settings(outputs, "stargan", "what=edit", f"image={face}", "attribute=smiling")
    panel = PANELS["edit"](Subject(TrainedRun.find(outputs / "stargan", outputs), config))
    assert panel.notes[0].startswith("The discriminator sees: ")


@pytest.mark.parametrize("run", ["ati_gan", "stargan"])
def test_held_out_faces_by_attributes(run, outputs):
    config = settings(outputs, run, "what=attributes", "rows=2")
    picture = sample(config)
    assert picture.name == "attributes.png"
    assert Image.open(picture).width > 64 * 10  # the image, and 9 attributes


@pytest.mark.parametrize(
    ("run", "words", "sentence"),
    [
        ("ati_gan", ["attribute=smilling"], "no attribute smilling; did you mean smiling?"),
        ("ati_gan", ["attribute=zzz"], "there are black_hair, "),
        ("ati_gan", [], "say image=face.png attribute="),
        ("ati_gan", ["attribute=smiling", "has=[bread]"], "did you mean beard?"),
        ("ati_gan", ["attribute=smiling", "box=[0,0,99,9]"], "no hole in an image of 32 x 32 px"),
        ("ati_gan", ["attribute=smiling", "output=a.jpg"], "let output=a.jpg end with .png"),
        ("stargan", ["attribute=grey_hair", "value=false"], "cannot be changed by itself"),
        ("stargan", ["attribute=smiling", "box=[1,1,9,9]"], "changes pictures all over"),
        ("sngan", ["attribute=smiling"], "needs a run that edits images, such as gan=ati_gan"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(run, words, sentence, outputs, face, capfd):
    words = [f"run={outputs}/{run}", "what=edit", f"image={face}", *words]
    assert command(words, "sample.py") == 2
    errors = capfd.readouterr().err
    assert sentence in errors and errors.count("\n") == 1


def test_a_picture_that_is_not_there_is_named(outputs):
    config = settings(outputs, "ati_gan", "what=edit", "image=nowhere.png", "attribute=smiling")
    with pytest.raises(UserError, match=r"no picture nowhere\.png"):
        sample(config)
