"""The cache of decoded images, digests, and sets too large to be decoded beforehand."""

import os
import re

import numpy as np
import pytest
import torch
from pictures import encoded, load, picture, put, put_zip

import saddlepoint.datamodules.base
import saddlepoint.datamodules.digest
from saddlepoint.datamodules.cache import IMAGES_PER_CHUNK
from saddlepoint.datamodules.decode import Decoder
from saddlepoint.errors import UserError


@pytest.fixture
def many(tmp_path):
    """More images than a chunk, in a zip, and a fresh cache."""
    files = {f"{i:03}.png": picture(i) for i in range(IMAGES_PER_CHUNK + 9)}
    return put_zip(tmp_path / "many.zip", files), tmp_path / "cache"


def decodes(monkeypatch):
    """Count the images that are decoded."""
    count = []
    original = Decoder.__call__
    monkeypatch.setattr(Decoder, "__call__", lambda *a: count.append(a) or original(*a))
    return count


def test_decoded_images_are_found_again(many, monkeypatch):
    path, cache = many
    first = load(path, cache_dir=cache)
    uncached = load(path)
    assert first.spec == uncached.spec
    count = decodes(monkeypatch)
    again = load(path, cache_dir=cache)
    assert again.spec == first.spec
    assert torch.equal(again.source.image.values, first.source.image.values)
    assert len(count) == 1, "the first image tells the shape, no other is decoded"
    (kept,) = cache.glob("*.npy")
    assert np.array_equal(np.load(kept), first.source.image.values.numpy())
    assert not list(cache.glob("*.tmp"))


@pytest.mark.parametrize("damage", ["truncated", "changed", "other", "empty"])
def test_damaged_cache_is_made_anew(many, damage, caplog):
    path, cache = many
    spec = load(path, cache_dir=cache).spec
    (kept,) = cache.glob("*.npy")
    content = bytearray(kept.read_bytes())
    content[5000] ^= 1
    damaged = {
        "truncated": content[:6000],
        "changed": content,
        "other": b"\x93NUMPY but not an array",
        "empty": b"",
    }
    kept.write_bytes(damaged[damage])
    again = load(path, cache_dir=cache)
    assert again.spec == spec and again.spec.num_items == len(again.source.image.values)
    assert "damaged" in caplog.text
    caplog.clear()
    assert load(path, cache_dir=cache).spec == spec
    assert "damaged" not in caplog.text


def test_cache_follows_files_and_settings(many):
    path, cache = many
    digests = {load(path, cache_dir=cache).spec.digest}
    digests.add(load(path, cache_dir=cache, resolution=4).spec.digest)
    digests.add(load(path, cache_dir=cache, channels=1).spec.digest)
    digests.add(load(path, cache_dir=cache, exclude=["000.png"]).spec.digest)
    digests.add(load(path, cache_dir=cache, exclude=["001.png"]).spec.digest)
    before = path.stat()
    put_zip(path, {f"{i:03}.png": picture(i + 1) for i in range(IMAGES_PER_CHUNK + 9)})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # same name, size and time
    assert path.stat().st_size == before.st_size
    digests.add(load(path, cache_dir=cache).spec.digest)
    assert len(digests) == 6


def test_cache_that_cannot_be_written(many, caplog):
    path, cache = many
    cache.write_bytes(b"a file where the directory should be")
    assert load(path, cache_dir=cache).spec == load(path).spec
    assert "Cannot keep the decoded images" in caplog.text


def test_full_disk_leaves_nothing_half_written(many, monkeypatch, caplog):
    path, cache = many

    def full(file, array):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("saddlepoint.datamodules.cache.np.save", full)
    assert load(path, cache_dir=cache).spec.num_items
    assert "the disk is full" in caplog.text
    assert {file.suffix for file in cache.iterdir()} == {".lock"}


def test_digest_is_that_of_the_images_alone(tmp_path):
    files = {"a/1.png": picture(1), "b/2.png": picture(2)}
    spec = load(put(tmp_path / "x", files)).spec
    digest = spec.digest
    assert re.fullmatch("sha256-[0-9a-f]{64}", digest)
    same = put_zip(tmp_path / "x.zip", {k: encoded(v, compress_level=0) for k, v in files.items()})
    assert load(same).spec.digest == digest, "the pixels count, not how they are packed"
    assert load(tmp_path / "x", resident=False).spec.digest == digest
    relabelled = {"a/1.png": picture(1), "a/2.png": picture(2), "b/3.png": picture(3)}
    other = put(tmp_path / "y", relabelled)
    other = load(other, exclude=["b/3.png"]).spec
    assert other.digest == digest, "the same images with other labels are the same set"
    assert other.annotations["label"] != spec.annotations["label"]
    assert not other.describes_same_data(spec) and spec.describes_same_data(spec)
    changed = picture(2)
    changed.putpixel((3, 3), (1, 2, 3))
    assert load(put(tmp_path / "z", {**files, "b/2.png": changed})).spec.digest != digest


def test_large_set_is_decoded_on_the_way(tmp_path, monkeypatch):
    files = {f"{i}.png": picture(i, (9, 7)) for i in range(12)}
    path = put_zip(tmp_path / "x.zip", files)
    settings = {"resolution": 6, "channels": 3, "flip": True}
    resident, streamed = load(path, **settings), load(path, resident=False, **settings)
    monkeypatch.setattr(saddlepoint.datamodules.base, "DECODED_AT_MOST", 0)
    count = decodes(monkeypatch)
    large = load(path, resident=False, num_workers=2, **settings)
    assert large.spec.shape == (3, 6, 6) and not count
    assert re.fullmatch("files-sha256-[0-9a-f]{64}", large.spec.digest)
    for data in (resident, streamed, large):
        data.plan(0, 4, 2, 5, 1)
    for blocks in zip(
        *(data.train_dataloader() for data in (resident, streamed, large)), strict=True
    ):
        one, two, three = (
            data.on_after_batch_transfer(block, 0)["reals"].image
            for data, block in zip((resident, streamed, large), blocks, strict=True)
        )
        assert torch.equal(one, two) and torch.equal(one, three)
    images = torch.cat([items.image for items in large.real_batches(5)])
    assert torch.equal(images, resident.source.image.values)
    for settings in ({"resolution": 6}, {"channels": 3}):
        with pytest.raises(UserError, match=r"set datamodule.resolution and datamodule.channels"):
            _ = load(path, resident=False, **settings).spec


def test_digest_of_a_large_set_is_kept_while_its_files_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(saddlepoint.datamodules.base, "DECODED_AT_MOST", 0)
    put(tmp_path / "x", {f"{i}.png": picture(i) for i in range(3)})
    settings = {"resolution": 8, "channels": 3, "resident": False}
    digest = load(tmp_path / "x", **settings).spec.digest
    assert load(tmp_path / "x", cache_dir=tmp_path / "c", **settings).spec.digest == digest
    with monkeypatch.context() as context:
        context.setattr(
            saddlepoint.datamodules.digest, "_sha256_of_file", None
        )  # not to be read again
        assert load(tmp_path / "x", cache_dir=tmp_path / "c", **settings).spec.digest == digest
    put(tmp_path / "x", {"1.png": picture(7)})
    changed = load(tmp_path / "x", cache_dir=tmp_path / "c", **settings).spec.digest
    assert changed == load(tmp_path / "x", **settings).spec.digest != digest
    settings["resolution"] = 4
    assert load(tmp_path / "x", cache_dir=tmp_path / "c", **settings).spec.digest != changed


def test_source_files_too_large_to_read_in_every_run(many, monkeypatch):
    path, cache = many
    monkeypatch.setattr(saddlepoint.datamodules.digest, "CHEAP_TO_READ", 0)
    spec = load(path, cache_dir=cache).spec
    monkeypatch.setattr(saddlepoint.datamodules.digest, "_sha256_of_file", None)
    assert load(path, cache_dir=cache).spec == spec == load(path).spec
