"""What a user adds to a run is added; what cannot be is refused by name."""

import pytest
import pytorch_lightning as pl
from pytorch_lightning.loggers.logger import DummyLogger
from train_cli import QUICK, composed, train_here

from saddlepoint.errors import UserError
from saddlepoint.records.settings import HARMLESS
from saddlepoint.runs import checkpoint_file
from saddlepoint.runs.callbacks.best_checkpoints import BestCheckpoints
from saddlepoint.runs.current_run import CurrentRun
from saddlepoint.runs.trained_run import TrainedRun

DEFAULT = composed([]).callbacks
SHORT = [*QUICK, "iterations=2"]


class Watching(pl.Callback):
    """Notes which callbacks there are, and in which iterations it was called."""

    seen = None

    def __init__(self, word="", run=None):
        self.word, self.run = word, run

    def on_train_start(self, trainer, game):
        Watching.seen = self
        self.order = [type(callback).__name__ for callback in trainer.callbacks]
        self.loggers = trainer.loggers
        self.iterations = []

    def on_train_batch_end(self, trainer, game, *_):
        self.iterations.append(game.iteration)


def handed_the_run(run, word):
    return Watching(word, run)


class Refusing(pl.Callback):
    def check(self, data, game):
        raise UserError(f"Nothing can be done with {data.spec.name}.")


class Lines(DummyLogger):
    def log_hyperparams(self, settings):
        self.settings = settings


def trained(*words, folder):
    Watching.seen = None
    train_here([*SHORT, *words, f"output_dir={folder}", "run_name=run"])
    return Watching.seen


OURS = [
    *("ScoreCallback", "SampleGrids", "Animation", "BestCheckpoints", "LastCheckpoint"),
    *("FinalScores", "StatusLine"),
]
MINE = "+callbacks.mine._target_=test_callbacks.Watching"


def test_a_users_callback_comes_after_ours_in_the_order_of_the_yaml(tmp_path):
    mine = trained(MINE, "+callbacks.mine.word=hello", folder=tmp_path)
    assert mine.order == [*OURS, "Watching"]
    assert mine.iterations == [1, 2] and mine.word == "hello"


def test_one_that_asks_for_the_run_is_handed_it(tmp_path):
    words = ["+callbacks.mine._target_=test_callbacks.handed_the_run", "+callbacks.mine.word=w"]
    mine = trained(*words, "+callbacks.mine._partial_=true", folder=tmp_path)
    assert isinstance(mine.run, CurrentRun) and mine.word == "w"
    assert mine.run.folder == tmp_path / "run"


def test_what_is_given_to_the_trainer_is_added(tmp_path):
    callbacks = "+trainer.callbacks=[{_target_: test_callbacks.Watching, word: a}]"
    logger = "+trainer.logger={_target_: test_callbacks.Lines}"
    mine = trained(callbacks, logger, folder=tmp_path)
    assert mine.order == [*OURS, "Watching"] and mine.word == "a"
    assert [type(logger).__name__ for logger in mine.loggers] == ["CSVFile", "Lines"]


def test_loggers_get_the_resolved_settings(tmp_path):
    mine = trained(
        MINE,
        "+logger.mine._target_=test_callbacks.Lines",
        "+logger.other={_target_: pytorch_lightning.loggers.CSVLogger, _partial_: true}",
        folder=tmp_path,
    )
    _, lines, other = mine.loggers
    assert lines.settings["gan"]["iterations"] == 2  # ${iterations}
    assert lines.settings["gan"]["_target_"] == "saddlepoint.gans.R1GAN"
    assert other.save_dir == str(tmp_path / "run") and other.name == "run"
    assert (tmp_path / "run" / "metrics.csv").exists()


@pytest.mark.parametrize("name", DEFAULT)
def test_each_of_ours_can_be_left_out(name, tmp_path):
    mine = trained(MINE, f"~callbacks.{name}", folder=tmp_path)
    assert mine.iterations == [1, 2] and len(mine.order) == len(OURS)
    left = {"sample_grids": "samples/final.png", "last_checkpoint": "checkpoints/last.ckpt"}
    for callback, path in left.items():
        assert (tmp_path / "run" / path).exists() == (callback != name)


def test_ours_leave_the_training_as_it_is_and_a_users_may_not(tmp_path):
    for name in DEFAULT:
        assert f"callbacks.{name}" in HARMLESS
    trained(MINE, "+callbacks.mine.word=a", folder=tmp_path)
    again = [f"ckpt={tmp_path}/run", "trust=[test_callbacks]", "sample_every=1"]
    again += ["~callbacks.status_line"]
    with pytest.raises(UserError, match=r"callbacks\.mine\.word \(a -> b\)"):
        train_here([*again, "+callbacks.mine.word=b"])
    with pytest.raises(UserError, match="has finished"):
        train_here(again)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["+trainer.max_epochs=3"], "trainer.max_epochs is set by the run.*use iterations="),
        (["+trainer.enable_progress_bar=true"], "trainer.enable_progress_bar is set by the run"),
        (["+trainer.logger=false"], "False is no logger.*metrics.csv is always written"),
        (["+trainer.callbacks=[wandb]"], r"trainer.callbacks=\['wandb'\] is not to be had"),
        (
            ["+callbacks.mine.word=a"],
            r"callbacks.mine=.* had: give a mapping with a _target_",
        ),
        (["+logger.mine=7"], r"logger.mine=.* had: give a mapping with a _target_"),
        (["+callbacks.mine._target_=pathlib.Path"], "is no callback"),
        (["+logger.mine._target_=pathlib.Path"], "is no logger"),
        (["+callbacks.mine._target_=test_callbacks.Refusing"], "Nothing can be done with avatars"),
    ],
)
def test_what_cannot_be_added_is_refused_before_anything_is_written(words, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        trained(*words, folder=tmp_path)
    assert not list(tmp_path.iterdir())


class Ending(pl.Callback):
    def on_train_batch_end(self, trainer, game, *_):
        trainer.should_stop = game.iteration == 3


def test_a_run_that_a_callback_ends_can_be_resumed_from_there(tmp_path, capsys):
    words = ["iterations=6", "checkpoint_every=100", f"output_dir={tmp_path}", "run_name=run"]
    ending = "+callbacks.mine._target_=test_callbacks.Ending"
    train_here([*QUICK, *words, ending])
    assert TrainedRun.find("last", tmp_path, ["test_callbacks"]).iteration == 3
    said = capsys.readouterr().out
    assert "stopped by a callback" in said
    assert f"go on with: python train.py ckpt={tmp_path}/run" in said


def test_a_run_whose_folder_is_removed_says_so(tmp_path):
    run = CurrentRun(composed(SHORT), [], "title", {}, tmp_path / "gone")
    with pytest.raises(UserError, match="its folder is gone"):
        checkpoint_file.save(run.checkpoint, {})


def test_the_best_checkpoint_is_by_the_direction_of_its_score(tmp_path):
    best = BestCheckpoints(CurrentRun(composed(SHORT), [], "title", {}, tmp_path), keep=1)
    for direction, expected in (("smaller", [20, 30, 10]), ("larger", [10, 30, 20])):
        about = {"directions": {"x": direction}}
        values = {10: 0.9, 20: 0.1, 30: 0.5}
        best.history = [{"iteration": i, "scores": {"x": v}, **about} for i, v in values.items()]
        assert best.ranking() == expected


def test_a_run_is_found_by_its_folder_a_checkpoint_or_as_the_newest(tmp_path):
    trained(folder=tmp_path)
    folder = tmp_path / "run"
    file = folder / "checkpoints" / "last.ckpt"
    for where in (folder, str(folder), file, "last"):
        run = TrainedRun.find(where, tmp_path)
        assert (run.checkpoint, run.folder, run.iteration) == (file, folder, 2)
    elsewhere = tmp_path / "copy.ckpt"
    elsewhere.write_bytes(file.read_bytes())
    assert TrainedRun.find(elsewhere, tmp_path).folder == tmp_path
    assert run.data().spec.plain() == run.content["data"]
    assert run.about(run.game())["title"] == "avatars-r1_gan"
    with pytest.raises(UserError, match="no run under nowhere"):
        TrainedRun.find("last", "nowhere")
