"""Disks that fail: one sentence or a warning, the old file intact, nothing half-written left."""

import errno
import importlib
import os
import random
from pathlib import Path

import pytest
import torch
from PIL import Image
from train_cli import command

from saddlepoint import atomic
from saddlepoint.atomic import UnwritableError, append, whole_file, write_text
from saddlepoint.datamodules import cache, digest
from saddlepoint.datamodules.avatars import load_avatars
from saddlepoint.errors import UserError
from saddlepoint.evaluation import statistics_cache
from saddlepoint.records.reading import read_records
from saddlepoint.records.record import append_record
from saddlepoint.runs import command_line
from saddlepoint.runs.csv_file import CSVFile
from saddlepoint.runs.pictures import save

FAULTS = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOENT, errno.EDQUOT, errno.EIO)


def record(path: Path, n: int) -> None:
    append_record(path, {"n": n, "text": "x" * 300})


def csv(path: Path, n: int) -> None:
    logger = CSVFile(path, n)
    logger.log_metrics({"loss": 0.5}, n + 1)
    logger.log_metrics({"loss": 0.25}, n + 2)


def page(path: Path, n: int) -> None:
    write_text(path, f"<p>{n}</p>" * 1000)


def checkpoint(path: Path, n: int) -> None:
    with whole_file(path) as file:
        torch.save({"n": torch.full((1000,), n)}, file)


def picture(path: Path, n: int) -> None:
    save(Image.new("RGB", (64, 64), (n, 0, 0)), path)


def statistics(path: Path, n: int) -> None:
    statistics_cache.write(path, "fingerprint", {"mean": torch.full((1000,), n)})


def decoded_images(path: Path, n: int) -> None:
    images = torch.full((9, 3, 8, 8), n, dtype=torch.uint8)
    cache._write(path, images, digest.sha256_of(images))


def lines(path: Path, n: int) -> None:
    append(path, b"%d\n" % n * 500)


@pytest.fixture
def faulty(monkeypatch):
    """Let the k-th of the calls that touch the disk fail."""
    state = {"left": -1, "number": 0}

    def step(path) -> None:
        state["left"] -= 1
        if state["left"] == -1:
            raise OSError(state["number"], os.strerror(state["number"]), str(path))

    def guarded(original):
        def call(*args, **kwargs):
            if state["left"] >= 0:
                step(args[0])
            return original(*args, **kwargs)

        return call

    class Raw(atomic._Raw):
        def __init__(self, path, mode):
            if state["left"] >= 0:
                step(path)
            super().__init__(path, mode)

        def write(self, content):
            if state["left"] >= 0:
                try:
                    step("")
                except OSError as error:
                    super().write(bytes(content)[: len(content) // 2])  # torn
                    self.failure = error
                    raise
            return super().write(content)

    monkeypatch.setattr(atomic, "_Raw", Raw)
    monkeypatch.setattr(os, "fsync", guarded(os.fsync))
    for name in ("replace", "mkdir"):
        monkeypatch.setattr(Path, name, guarded(getattr(Path, name)))
    plain = Path.open

    def opened(self, mode="r", *args, **kwargs):
        if state["left"] >= 0 and mode[0] in "aw":
            step(self)
        return plain(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)
    return state


@pytest.mark.parametrize("write", [record, csv, page, checkpoint, picture, lines])
def test_faults(write, tmp_path, faulty):
    rng, refused = random.Random(write.__name__), 0
    path = tmp_path / "file"
    write(path, 0)
    for n in range(60):
        before = path.read_bytes()
        faulty.update(left=rng.randrange(5), number=rng.choice(FAULTS))
        try:
            write(path, n)
        except UserError as error:
            refused += 1
            assert isinstance(error, UnwritableError) and str(path) in str(error)
            # The CSV may have its first row of two, whole.
            assert path.read_bytes() == before or write is csv
        finally:
            faulty["left"] = -1
        assert path.read_bytes().endswith((b"\n", b">")) or write in (checkpoint, picture)
        assert [p.name for p in tmp_path.iterdir()] == ["file"]
    print(write.__name__, {"tried": 60, "refused": refused})
    assert refused > 5


@pytest.mark.parametrize("write", [statistics, decoded_images])
def test_faults_of_a_cache_are_no_faults_of_the_run(write, tmp_path, faulty, caplog):
    rng, kept = random.Random(write.__name__), 0
    path = tmp_path / "file"
    write(path, 0)
    for n in range(1, 60):
        before = path.read_bytes()
        faulty.update(left=rng.randrange(5), number=rng.choice(FAULTS))
        caplog.clear()
        write(path, n)
        faulty["left"] = -1
        if caplog.records:
            kept += 1
            assert path.read_bytes() == before and "Cannot keep" in caplog.text
        if write is statistics:
            assert statistics_cache.read(path, "fingerprint") is not None
        else:
            assert cache._read(path, (9, 3, 8, 8)) is not None
        assert [p.name for p in tmp_path.iterdir()] == ["file"]
    print(write.__name__, {"tried": 59, "kept as it was": kept})
    assert kept > 5


def test_scores_are_shown_on_a_full_disk(tmp_path, capfd):
    """The device /dev/full has no room for any record."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    for name in ("A", "B"):
        (tmp_path / name).mkdir()
        for k, pixels in enumerate(load_avatars().image.values[:20]):
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / name / f"{k}.png")
    folder = tmp_path / "out" / "evaluations" / "theirs"
    folder.mkdir(parents=True)
    (folder / "records.jsonl").symlink_to("/dev/full")
    words = [f"images={tmp_path}/A", f"reference={tmp_path}/B", "title=theirs"]
    words += ["protocol=own_images", "protocol.num_real=null", "protocol.num_fake=20"]
    assert command([*words, f"output_dir={tmp_path}/out"], "evaluate.py") == 2
    output, errors = capfd.readouterr()
    assert "FD/random-features" in output and "recorded" not in output
    assert errors.endswith("cannot be written (the disk is full): free some space.\n")


def test_an_append_that_is_torn_is_taken_back(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "records.jsonl"
    record(path, 0)
    pid = os.fork()
    if not pid:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
        try:
            record(path, 1)
        except UnwritableError as error:
            os._exit(7 if "larger than allowed" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert path.read_bytes().count(b"\n") == 1 and path.read_bytes().endswith(b"}\n")
    assert read_records(path, []) == []  # it has no schema, and is whole


def test_the_dead_leave_nothing(tmp_path):
    pid = os.fork()
    if not pid:
        with whole_file(tmp_path / "file") as file:
            file.write(b"half")
            file.flush()
            os._exit(0)
    os.waitpid(pid, 0)
    foreign = tmp_path / f".file.000000000000-{pid}.0.tmp"  # of another machine
    foreign.touch()
    assert len(list(tmp_path.iterdir())) == 2
    with whole_file(tmp_path / "file"):
        write_text(tmp_path / "file", "of another writer that lives")
    assert sorted(p.name for p in tmp_path.iterdir()) == [foreign.name, "file"]


def test_ctrl_c_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended, command_line.mistakes():
        raise KeyboardInterrupt
    assert ended.value.code == 130 and capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("script", ["train", "evaluate", "sample", "leaderboard"])
def test_ctrl_c_while_a_command_is_imported_is_one_line(script, monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert command([], f"{script}.py") == 130
    assert capsys.readouterr().err == "interrupted\n"
