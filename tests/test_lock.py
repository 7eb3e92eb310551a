"""A run folder has one writer, and a folder is made, not looked for."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from train_cli import QUICK, composed, finish, start, train_here

from saddlepoint.errors import UserError
from saddlepoint.gans.loss_log import DivergedError
from saddlepoint.runs import checkpoint_file, lock
from saddlepoint.runs.content_hash import sha256_of
from saddlepoint.runs.current_run import new_folder

HOLD = """
import sys, time
from pathlib import Path
from saddlepoint.runs import lock
held = lock.hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def holder(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_writer_is_refused_by_name_until_the_first_is_dead(tmp_path):
    assert not lock.is_held(tmp_path)
    process = holder(tmp_path)
    try:
        assert lock.is_held(tmp_path)
        with pytest.raises(UserError, match=f"going on in process {process.pid} on "):
            lock.hold(tmp_path)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not lock.is_held(tmp_path)
    lock.hold(tmp_path).close()


def test_a_running_run_is_passed_over_and_not_resumed(tmp_path, caplog):
    for name in ("old", "new"):
        train_here([*QUICK, "iterations=2", f"output_dir={tmp_path}", f"run_name={name}"])
    process = holder(tmp_path / "new")
    longer = ["iterations=4", "allow_changes=true", f"output_dir={tmp_path}"]
    try:
        with pytest.raises(UserError, match="going on in process"):
            train_here([f"ckpt={tmp_path}/new", *longer])
        train_here(["ckpt=last", *longer])
        assert f"passed over, as going on: {tmp_path}/new" in caplog.text
    finally:
        process.kill()
        process.wait()
    done = [checkpoint_file.load(tmp_path / n)["game"]["iteration"] for n in ("old", "new")]
    assert done == [4, 2]


def test_runs_of_one_second_have_folders_of_their_own(tmp_path):
    config = composed([*QUICK, f"output_dir={tmp_path}"])
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: new_folder(config, "run"), range(24)))
    assert len(set(folders)) == 24 and all(folder.is_dir() for folder in folders)


def test_a_number_is_a_name(tmp_path):
    config = composed([*QUICK, f"output_dir={tmp_path}", "run_name=2024"])
    assert new_folder(config, "run") == tmp_path / "2024"
    with pytest.raises(UserError, match="2024 exists: resume it with ckpt="):
        new_folder(config, "run")


def test_a_stopped_run_says_so_in_its_exit_code(tmp_path):
    words = [*QUICK, "iterations=1000000", "checkpoint_every=100000", f"output_dir={tmp_path}"]
    process = start([*words, "run_name=run"])
    while not (tmp_path / "run" / "samples" / "000000.png").exists():
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    code, output, _ = finish(process)
    assert code == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in output
    assert checkpoint_file.load(tmp_path / "run")["game"]["iteration"] > 0


def test_flipped_bits_and_torn_ends_are_damage(tmp_path):
    path = tmp_path / "last.ckpt"
    content = {key: {} for key in checkpoint_file.KEYS} | {"overrides": [], "seconds": 1.0}
    content["game"] = {"modules": {"w": torch.randn(500)}, "iteration": 7, "x": [1.5, None, True]}
    checkpoint_file.save(path, content)
    whole = path.read_bytes()
    expected = sha256_of(checkpoint_file.load(path))
    generator = torch.Generator().manual_seed(9)
    tried = held = 0
    for place in torch.randint(8 * len(whole), (120,), generator=generator).tolist():
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        tried += 1
        try:
            held += sha256_of(checkpoint_file.load(path)) == expected  # a bit that says nothing
        except UserError:
            held += 1
    for end in torch.randint(len(whole), (20,), generator=generator).tolist():
        path.write_bytes(whole[:end])
        tried += 1
        with pytest.raises(UserError):
            checkpoint_file.load(path)
        held += 1
    print(f"damaged checkpoints: {tried} tried, {held} held")
    assert held == tried == 140


def test_what_lacks_a_key_is_damaged(tmp_path):
    path = tmp_path / "last.ckpt"
    content = {key: {} for key in checkpoint_file.KEYS} | {"overrides": [], "seconds": 1.0}
    for key in checkpoint_file.KEYS:
        checkpoint_file.save(path, {name: content[name] for name in content.keys() - {key}})
        with pytest.raises(UserError, match="is damaged"):
            checkpoint_file.load(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"config": "gan: {}"},
        {"config": None},
        {"game": 7},
        {"overrides": "a=1"},
        {"overrides": [1]},
    ],
    ids=str,
)
def test_what_is_of_another_kind_is_damaged(wrong, tmp_path):
    content = {key: {} for key in checkpoint_file.KEYS} | {"overrides": [], "seconds": 1.0}
    checkpoint_file.save(tmp_path / "last.ckpt", {**content, **wrong})
    with pytest.raises(UserError, match="is damaged"):
        checkpoint_file.load(tmp_path / "last.ckpt")


@pytest.mark.parametrize("where", ["buffer", "optimiser"])
def test_what_is_not_finite_is_not_written(where, tmp_path):
    from pytorch_lightning import Callback

    class Spoil(Callback):
        def on_train_batch_end(self, trainer, game, *_):
            if game.iteration == 4 and where == "buffer":
                next(game.generator.buffers()).fill_(torch.nan)
            elif game.iteration == 4:
                state = game._optimizers["generator"].state
                next(iter(state.values()))["exp_avg_sq"].fill_(torch.inf)

    sys.modules[__name__].Spoil = Spoil
    words = [*QUICK, f"output_dir={tmp_path}", "run_name=run", "checkpoint_every=1"]
    spoil = f"+callbacks.spoil._target_={__name__}.Spoil"
    with pytest.raises(DivergedError, match="not finite"):
        train_here([*words, spoil])
    content = checkpoint_file.load(tmp_path / "run")
    assert content["game"]["iteration"] < 6
