"""Files are written whole or not at all, and one sentence says why not."""

import errno
import os
import re
import subprocess
import sys
import time

import pytest
import torch

from saddlepoint import atomic
from saddlepoint.atomic import UnwritableError, whole_file, write_text


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    with whole_file(path) as file:
        file.write(b"x" * 100_000)
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"x" * 100_000
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("failure", [ValueError("no"), RuntimeError("no"), KeyboardInterrupt()])
def test_what_goes_wrong_while_writing_leaves_the_old_file(failure, tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(type(failure)), whole_file(path) as file:
        file.write(b"new")
        raise failure
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, r"the disk is full\): free some space, and so on\.$"),
        (errno.EDQUOT, "your share of the disk"),
        (errno.EROFS, r"the disk is read-only\): write elsewhere"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
@pytest.mark.parametrize("write", [torch.save, lambda content, file: file.write(bytes(100_000))])
def test_a_write_that_fails_names_the_cause(number, sentence, write, tmp_path, monkeypatch):
    """torch's writer hides it in a RuntimeError of its own."""

    def fail(self, content):
        error = OSError(number, os.strerror(number))
        self.failure = error
        raise error

    monkeypatch.setattr(atomic._Raw, "write", fail)
    with (
        pytest.raises(UnwritableError, match=re.escape(str(tmp_path)) + ".*" + sentence),
        whole_file(tmp_path / "file", hint=", and so on") as file,
    ):
        write({"weights": torch.zeros(100_000)}, file)
    assert not list(tmp_path.iterdir())


def test_a_limit_of_the_system_is_met_by_torch_as_by_others(tmp_path):
    """A real failure of the system: files may have 50,000 bytes."""
    code = """
import resource, signal, sys, torch
from saddlepoint.atomic import UnwritableError, whole_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    with whole_file(sys.argv[1]) as file:
        torch.save(torch.zeros(100_000), file)
except UnwritableError as error:
    print(error)
"""
    path = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=120
    )
    assert "(the file is larger than allowed here)" in done.stdout, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_or_no_folder_is_named(tmp_path):
    with pytest.raises(UnwritableError, match="its folder is gone"):
        write_text(tmp_path / "gone" / "file", "", make_folder=False)
    write_text(tmp_path / "file", "")
    with pytest.raises(UnwritableError, match="what should be its folder is a file"):
        write_text(tmp_path / "file" / "file", "")
    with pytest.raises(UnwritableError, match="there is a folder of that name"):
        write_text(tmp_path, "")


def test_what_killed_processes_left_is_removed_in_time(tmp_path):
    old, new, other = (tmp_path / f".{name}.tmp" for name in ("file.1", "file.2", "other.1"))
    for left in (old, new, other):
        left.write_text("half")
    for left in (old, other):
        os.utime(left, (time.time() - 2 * atomic.ABANDONED,) * 2)
    write_text(tmp_path / "file", "whole")
    assert not old.exists() and new.exists() and other.exists()
