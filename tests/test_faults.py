"""What breaks around a run costs it no checkpoint."""

import shutil

import pytest
from PIL import Image
from pytorch_lightning import Callback
from train_cli import QUICK, equal, train_here

from saddlepoint.errors import UserError
from saddlepoint.runs import checkpoint_file, train


class MoveAway(Callback):
    """Moves the images of a set away in the middle of a run."""

    def __init__(self, folder, place):
        self.folder, self.place = folder, place

    def on_train_batch_end(self, trainer, game, *_):
        if game.iteration == 5:
            shutil.move(self.folder, self.place)


@pytest.mark.parametrize("workers", [0, 1])
def test_data_that_vanish_end_a_run_that_goes_on_when_they_are_back(workers, tmp_path, monkeypatch):
    # Sets as small as this one are read as a whole otherwise.
    monkeypatch.setattr("saddlepoint.datamodules.base.DECODED_AT_MOST", 0)
    images = tmp_path / "images"
    images.mkdir()
    for number in range(40):
        Image.new("RGB", (32, 32), (6 * number, 250 - 6 * number, 90)).save(
            images / f"{number:02}.png"
        )
    words = [*QUICK, "gan=gan", "network=lite", "datamodule=folder", f"datamodule.path={images}"]
    words += ["datamodule.resident=false", f"datamodule.num_workers={workers}", "iterations=9"]
    words += ["datamodule.resolution=32", "datamodule.channels=3", f"output_dir={tmp_path}/outputs"]
    train_here([*words, "run_name=undisturbed"])
    away = MoveAway(images, tmp_path / "away")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "build_callbacks", with_also(away))
        with pytest.raises(UserError, match=r"\d\d\.png"):
            train_here([*words, "run_name=run"])
    folders = {name: tmp_path / "outputs" / name for name in ("run", "undisturbed")}
    assert 0 < checkpoint_file.load(folders["run"])["game"]["iteration"] < 9
    shutil.move(tmp_path / "away", images)
    train_here([f"ckpt={folders['run']}"])
    games = [checkpoint_file.load(folder)["game"] for folder in folders.values()]
    assert equal(*games) and games[0]["iteration"] == 9


def with_also(callback):
    """Makes the callbacks of a run, and one more."""
    made = train.build_callbacks
    return lambda run: [*made(run), callback]
