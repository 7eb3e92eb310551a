"""Several iterations in a step of the trainer are the same ones, and callbacks cannot tell."""

import re
import sys
from importlib import import_module

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.profilers import SimpleProfiler
from train_cli import QUICK, ROOT, composed, train_here

from saddlepoint.datamodules.toys import Gaussians8
from saddlepoint.gans import Game
from saddlepoint.gans.stretch import LENGTH
from saddlepoint.runs.build import build_game

WORDS = ["experiment=toy_gaussians8", "gan=gan", "batch_size=4", "iterations=11"]
SMALL = ["network.generator.width=4", "network.discriminator.width=4"]


class Noting(pl.Callback):
    """Notes every call of its hooks, and ends the training after an iteration."""

    counts_iterations = True

    def __init__(self, stop=None):
        self.stop, self.calls = stop, []

    def on_train_batch_start(self, trainer, game, *_):
        self.calls.append(("start", game.iteration))

    def on_train_batch_end(self, trainer, game, *_):
        self.calls.append(("end", game.iteration))
        trainer.should_stop = trainer.should_stop or game.iteration == self.stop

    def on_train_end(self, trainer, game):
        self.calls.append(("all", game.iteration))


class Going(pl.Callback):
    """Goes by the steps of the trainer."""

    def on_train_batch_end(self, *_):
        pass


def trainer_with(*callbacks, **settings):
    usual = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    usual |= {"enable_model_summary": False, "accelerator": "cpu", "max_epochs": 1}
    return pl.Trainer(**{**usual, **settings}, callbacks=list(callbacks))


def game_of_points():
    torch.manual_seed(0)
    data = Gaussians8(num_items=64)
    return build_game(composed([*WORDS, *SMALL]), data.spec), data


def played(stretch, stop=None, left=None):
    """A game after a run, or the rest of one, in stretches; and what a callback noted."""
    game, data = game_of_points()
    if left is not None:
        game.load_state(left)
    noting = Noting(stop)
    needs = {"batch_size": 4, "batches_per_iteration": 1, "iterations": 11}
    data.plan(seed=0, start=game.iteration, stretch=stretch, **needs)
    trainer_with(noting).fit(game, data)
    return game, noting.calls


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("stretch", [3, 11, 100])
def test_hooks_and_weights_are_those_of_single_iterations(stretch):
    (game, calls), (plain, usual) = played(stretch), played(1)
    assert calls == usual
    assert usual == [c for i in range(11) for c in (("start", i), ("end", i + 1))] + [("all", 11)]
    assert equal(game.state_dict(), plain.state_dict())


@pytest.mark.parametrize("stop", [1, 3, 5, 6])
def test_a_callback_ends_it_after_any_iteration_and_what_is_left_follows(stop):
    """After 3 and 6 a stretch of 3 is over anyway."""
    game, calls = played(3, stop)
    assert game.iteration == stop
    assert calls == played(1, stop)[1] and calls[-2:] == [("end", stop), ("all", stop)]
    rest, _ = played(4, left=game.state())
    assert rest.iteration == 11
    assert equal(rest.state_dict(), played(1)[0].state_dict())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, LENGTH),
        ({"limit_train_batches": 5}, 1),
        ({"fast_dev_run": True}, 1),
        ({"max_steps": 5}, 1),
        ({"precision": "bf16-mixed"}, 1),
        ({"profiler": SimpleProfiler()}, 1),
        ({"max_time": "00:01:00:00"}, 1),
    ],
)
def test_what_goes_by_steps_gets_a_step_for_each_iteration(settings, expected):
    game, _ = game_of_points()
    assert game.iterations_per_step(trainer_with(Noting(), **settings)) == expected


def test_a_callback_or_a_game_with_hooks_of_its_own_does_too():
    game, _ = game_of_points()
    assert game.iterations_per_step(trainer_with(Noting(), Going())) == 1

    class Hooked(type(game)):
        def on_train_batch_start(self, *_):
            pass

    game.__class__ = Hooked  # a method of somebody else's
    assert game.iterations_per_step(trainer_with(Noting())) == 1


def test_a_data_module_that_finishes_batches_itself_gets_iterations_singly():
    class Own(Gaussians8):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return {**super().on_after_batch_transfer(batch, dataloader_idx), "seen": True}

    data = Own(num_items=64)
    data.plan(0, batch_size=4, batches_per_iteration=1, iterations=5, stretch=3)
    seen = [data.on_after_batch_transfer(block, 0) for block in data.train_dataloader()]
    assert [(block["iteration"], block["seen"]) for block in seen] == [(i, True) for i in range(5)]


def test_a_run_without_callbacks_of_others_is_played_in_stretches(tmp_path, monkeypatch):
    found = []

    chosen = Game.iterations_per_step

    def noted(self, trainer):
        found.append(chosen(self, trainer))
        return found[-1]

    monkeypatch.setattr(Game, "iterations_per_step", noted)
    train_here([*QUICK, f"output_dir={tmp_path}"])
    assert found == [LENGTH]


def test_the_benchmark_plays_a_run_and_a_bare_loop(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    words = ["loop.py", "--block", "2", *WORDS, *SMALL]
    monkeypatch.setattr(sys, "argv", words)
    import_module("loop").main()
    found = re.search(
        r"run ([\d.]+) ms, bare loop ([\d.]+) ms an iteration", capsys.readouterr().out
    )
    assert all(float(milliseconds) > 0 for milliseconds in found.groups())
