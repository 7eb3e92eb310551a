"""Files of strangers: each is read, or refused in one sentence, in little memory."""

import io
import json
import logging
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saddlepoint.datamodules import archive as archives
from saddlepoint.datamodules.annotation_file import read_annotation
from saddlepoint.datamodules.folder import Folder
from saddlepoint.errors import UserError
from saddlepoint.records.reading import read_records
from saddlepoint.runs.csv_file import CSVFile

VALUES = [None, True, -1, 0, 1, 7, 10**12, 10**400, 1e308, "", "x", "\ud800", [], {}, [[]], ["a"]]
DEEP = b"[" * 200_000


def png(side: int = 4, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def zipped(labels: bytes | None, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as members:
        for i in range(4):
            members.writestr(f"a/{i}.png", png(seed=i))
        if labels is not None:
            members.writestr("dataset.json", labels)
    return file.getvalue()


def labels_of(rng: random.Random) -> bytes:
    """A ``dataset.json`` with something wrong in it, mostly."""
    content = {"labels": [[f"a/{i}.png", i % 2] for i in range(4)], "classes": ["x", "y"]}
    where = rng.randrange(6)
    value = rng.choice(VALUES)
    if where == 0:
        content["labels"][rng.randrange(4)][rng.randrange(2)] = value
    elif where == 1:
        content["classes"] = value
    elif where == 2:
        content["labels"] = value
    elif where == 3:
        content["labels"][rng.randrange(4)] = value
        del content["classes"]
    elif where == 4:
        content["classes"][rng.randrange(2)] = value
    encoded = json.dumps(content).encode()
    return mutated(encoded, rng) if where == 5 else encoded


def mutated(content: bytes, rng: random.Random) -> bytes:
    content = bytearray(content)
    for _ in range(rng.choice((0, 1, 1, 2))):
        at = rng.randrange(len(content)) if content else 0
        kind = rng.randrange(4)
        if kind == 0:
            content[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del content[at : at + rng.randint(1, 30)]
        elif kind == 2:
            content[at:at] = rng.randbytes(rng.randint(1, 8))
        else:
            content = content[: max(at, 1)]
    return bytes(content)


def is_held(action, tally: dict[str, int]) -> None:
    """The action succeeds or ends in one sentence."""
    try:
        action()
        tally["read"] = tally.get("read", 0) + 1
    except UserError as error:
        sentence = str(error)
        assert "\n\n" not in sentence and "Traceback" not in sentence and len(sentence) < 1000
        tally["refused"] = tally.get("refused", 0) + 1


def use(path: Path) -> None:
    Folder(path).load()


def test_labels(tmp_path):
    rng, tally = random.Random(1), {}
    for i in range(150):
        path = tmp_path / f"{i}.zip"
        path.write_bytes(zipped(labels_of(rng)))
        archive = archives.open_archive(path)
        names = archives.image_names(archive)
        is_held(lambda a=archive, n=names: archives.read_labels(a, n), tally)
    print("dataset.json", tally)
    assert tally["refused"] > 50


def test_damaged_zips(tmp_path):
    rng, tally = random.Random(2), {}
    whole = [zipped(None, m) for m in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)]
    for i in range(150):
        path = tmp_path / f"{i}.zip"
        path.write_bytes(mutated(rng.choice(whole), rng))

        def read(path=path):
            archive = archives.open_archive(path)
            decoder = Folder(path).decoder
            for name in archives.image_names(archive):
                decoder(archive.read(name), name)

        is_held(read, tally)
    print("zip", tally)
    assert tally["refused"] > 50


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (b'{"labels": [["a/0.png", 1000000000000]]}', "has no label"),
        (DEEP, "is not of the form"),
        (b'{"labels": ' + DEEP + b"}", "is not of the form"),
        (b" " * 2_000_000, "more than the"),
    ],
)
def test_sentences(tmp_path, labels, sentence):
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(labels))
    with pytest.raises(UserError, match=sentence):
        use(path)


@pytest.mark.parametrize(
    ("label", "classes", "sentence"),
    [(10**12, None, "more classes than"), (0, 7, "list of their names"), (True, None, "from 0")],
)
def test_counts_of_classes(tmp_path, label, classes, sentence):
    content = {"labels": [[f"a/{i}.png", label] for i in range(4)], "classes": classes}
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(json.dumps(content).encode()))
    with pytest.raises(UserError, match=sentence):
        use(path)


def test_what_is_no_file(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes(png())
    outside = tmp_path / "secret.png"
    outside.write_bytes(png())
    (images / "b.png").symlink_to("a.png")
    assert archives.image_names(archives.Folder(images)) == ["a.png", "b.png"]
    cases = {
        "leads out": lambda path: path.symlink_to(outside),
        "link to a folder it lies in": lambda path: path.symlink_to(images),
        "is no UTF-8": lambda path: Path(
            os.fsdecode(b"%s/\xff.png" % os.fsencode(images))
        ).write_bytes(png()),
        "is no file": lambda path: os.mkfifo(path),
    }
    for sentence, make in cases.items():
        wrong = images / "c.png"
        before = set(images.iterdir())
        make(wrong)

        def read():
            archive = archives.open_archive(images)
            for name in archives.image_names(archive):
                archive.read(name)

        with pytest.raises(UserError, match=sentence):
            read()
        for path in set(images.iterdir()) - before:
            path.unlink()


BOMBS = """
import io, resource, struct, sys, zipfile, zlib
from pathlib import Path
from saddlepoint.datamodules.folder import Folder
from saddlepoint.errors import UserError
from saddlepoint.datamodules.archive import open_archive
import numpy as np
from saddlepoint.datamodules.annotation_file import read_annotation
folder = Path(sys.argv[1])
def chunk(kind, content):
    end = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + end
side = 60_000
header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
bomb = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", header)
bomb += chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
with zipfile.ZipFile(folder / "pixels.zip", "w") as z:
    z.writestr("a.png", bomb)
with zipfile.ZipFile(folder / "member.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
    with z.open("a.png", "w", force_zip64=True) as file:
        for _ in range(300):
            file.write(bytes(2**20))
lying = bytearray((folder / "member.zip").read_bytes())
at = lying.rindex(b"PK\\x01\\x02")
lying[at + 24 : at + 28] = struct.pack("<I", 100)
(folder / "lying.zip").write_bytes(lying)
np.savez_compressed(folder / "ids.npz", np.zeros(2**23))
view = io.BytesIO()
header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
np.lib.format.write_array_header_1_0(view, header)
(folder / "ids.npy").write_bytes(view.getvalue())
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 2**28, now + 2**28))
for name in ("pixels.zip", "member.zip", "lying.zip", "ids.npz", "ids.npy"):
    try:
        if name.startswith("ids"):
            read_annotation(folder / name, 100)
        else:
            data = Folder(folder / name)
            data.decoder(open_archive(folder / name).read("a.png"), name)
        raise SystemExit(f"{name} was read")
    except UserError as error:
        print(str(error)[-150:])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory of Linux")
def test_bombs_need_little_memory(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BOMBS, str(tmp_path)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert "pixels" in lines[0] and "more than the" in lines[1] and "more than the" in lines[3]
    assert len(lines) == 5 and "Unable to allocate" not in done.stdout


def test_annotations(tmp_path):
    rng, tally = random.Random(3), {}
    sources = {}
    np.save(tmp_path / "a.npy", np.arange(20) % 3)
    np.savez(tmp_path / "a.npz", np.ones((20, 3)))
    (tmp_path / "a.csv").write_text("1.5,2\n" * 20)
    for suffix in ("npy", "npz", "csv"):
        sources[suffix] = (tmp_path / f"a.{suffix}").read_bytes()
    for _ in range(200):
        suffix = rng.choice(list(sources))
        path = tmp_path / f"b.{suffix}"
        path.write_bytes(mutated(sources[suffix], rng))
        is_held(lambda p=path: read_annotation(p, 20), tally)
    print("annotations", tally)
    assert tally["refused"] > 50


def test_records(tmp_path):
    rng = random.Random(4)
    line = (Path(__file__).parent / "schema1.jsonl").read_bytes().splitlines()[0]
    content = json.loads(line)
    path = tmp_path / "records.jsonl"
    read = left_out = 0
    for i in range(200):
        if i % 2:
            wrong = dict(content)
            wrong[rng.choice(list(wrong))] = rng.choice(VALUES)
            torn = json.dumps(wrong).encode()
        else:
            torn = mutated(line, rng)
        path.write_bytes(line + b"\n" + torn + b"\n" + DEEP[: 10 * i] + b"\n")
        problems = []
        records = read_records(path, problems)
        assert records
        read, left_out = read + len(records), left_out + len(problems)
    print("records", {"read": read, "left out": left_out})
    assert left_out > 50
    path.unlink()
    os.mkfifo(path)
    assert read_records(path, problems) == [] and "is no file" in problems[-1]


def test_metrics_csv(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    rng = random.Random(5)
    path = tmp_path / "metrics.csv"
    whole = "iteration,loss,x\n" + "".join(f"{i},0.5,{i}\n" for i in range(1, 20))
    wrong = ["", "1e9,", "abc,1,2\n", "3,4,5,6,7\n", '"', "\x00", "7,abc,1\n", "²,1,1\n"]
    for _ in range(100):
        at = rng.randrange(len(whole))
        text = (whole[:at] + rng.choice(wrong) + whole[at:]).encode()
        path.write_bytes(mutated(text, rng))
        logger = CSVFile(path, 10)
        logger.log_metrics({"loss": 1.0}, 11)
        logger.log_metrics({"loss": 1.0, "new": 2.0}, 12)
        last = CSVFile(path, 12)
        assert [row["iteration"] for row in last._rows[-2:]] == ["11", "12"]
    assert "left out" in caplog.text
