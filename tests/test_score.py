import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scoring import Pixels, PlainData, images, sample

from datamodules.base import DataModule
from datamodules.pixels import to_uint8
from datamodules.source import Samples
from errors import UserError
from evaluation import automatic, statistics_cache
from evaluation.automatic import AutomaticScore
from evaluation.frechet import FeatureStatistics, frechet_distance
from evaluation.protocol import Protocol
from evaluation.score import FrechetScore, NoScore
from randomness import keyed_generator

ROOT = Path(__file__).resolve().parent.parent


class Data(DataModule):
    def __init__(self, items, name="squares"):
        super().__init__(name, num_workers=0)
        self.items = items

    def load(self):
        return Samples(images=self.items, labels=torch.zeros(len(self.items), dtype=torch.long))


def statistics(values):
    result = FeatureStatistics()
    result.update(Pixels()(values).features)
    return result


def test_score_is_the_distance_of_all_reals_and_the_fakes_asked_for():
    data = images(50, 1)
    score = FrechetScore(Pixels(), num_fake=33, batch_size=8).prepare(Data(data))
    expected = frechet_distance(statistics(data), statistics(to_uint8(sample(33, 0))))
    assert score.name == "FD/pixels"
    assert score.score(sample) == {"FD/pixels": pytest.approx(expected, rel=1e-12)}
    assert score.extractor.sizes == [8] * 6 + [2] + [8] * 4 + [1]


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_score_does_not_depend_on_the_batch_size(batch_size):
    def value(size):
        score = FrechetScore(Pixels(), num_fake=33, batch_size=size).prepare(Data(images(50, 1)))
        return score.score(sample)["FD/pixels"]

    assert value(batch_size) == pytest.approx(value(7), rel=1e-10)


def test_uint8_and_float_samples_score_the_same():
    score = FrechetScore(Pixels(), num_fake=20).prepare(Data(images(50, 1)))
    floats = score.score(sample)
    assert score.score(lambda n, start: to_uint8(sample(n, start))) == floats


def test_chosen_reals_are_distinct_and_keyed():
    data = torch.arange(50, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    seen = []

    def chosen(seed, num_real):
        score = FrechetScore(Pixels(), num_real, num_fake=2, seed=seed).prepare(Data(data))
        seen.append(
            sorted(score.real.state()["vectors"][:, 0].int().tolist()) if num_real < 5 else 0
        )
        return score.real.mean[0].item(), seen[-1], score.real.count

    assert chosen(0, 4) == chosen(0, 4)
    assert chosen(0, 4)[1] != chosen(1, 4)[1]
    assert len(set(chosen(0, 4)[1])) == 4
    assert chosen(0, 50)[0] == chosen(1, 50)[0] == pytest.approx(24.5)


def test_too_few_reals_are_an_error():
    with pytest.raises(UserError, match=r"60 real images and squares has 50"):
        FrechetScore(Pixels(), num_real=60).prepare(Data(images(50, 1)))
    for counts in ({"num_fake": 1}, {"num_real": 1}):
        with pytest.raises(UserError, match="at least 2 images"):
            FrechetScore(Pixels(), **counts).prepare(Data(images(50, 1)))


def test_samples_of_another_shape_are_an_error():
    score = FrechetScore(Pixels(), num_fake=4).prepare(Data(images(50, 1)))
    with pytest.raises(UserError, match=r"\(1, 8, 8\)"):
        score.score(lambda n, start: torch.zeros(n, 1, 8, 8))
    with pytest.raises(UserError, match="generator"):  # nor fewer images than asked for
        score.score(lambda n, start: torch.zeros(n - 1, 1, 4, 4))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_samples_that_are_not_finite_are_an_error(bad):
    def broken(n, start):
        values = sample(n, start)
        if start <= 21 < start + n:
            values[21 - start, 0, 1, 1] = bad
        return values

    score = FrechetScore(Pixels(), num_fake=33, batch_size=8).prepare(Data(images(50, 1)))
    with pytest.raises(UserError, match="generated features hold NaN"):
        score.score(broken)


def test_constant_images_have_a_score():
    score = FrechetScore(Pixels(), num_fake=30).prepare(Data(images(50, 1)))
    value = score.score(lambda n, start: torch.zeros(n, 1, 4, 4))["FD/pixels"]
    real = statistics(images(50, 1))
    expected = real.trace + (real.mean - 128).square().sum()
    assert value == pytest.approx(float(expected))


# The cache of real statistics --------------------------------------------------------------------


def prepared(folder, data=None, **settings):
    score = FrechetScore(Pixels(), num_fake=10, cache_dir=folder, **settings)
    return score.prepare(Data(images(50, 1) if data is None else data))


def test_real_statistics_are_computed_once(tmp_path):
    first, second = prepared(tmp_path), prepared(tmp_path)
    assert first.extractor.sizes and not second.extractor.sizes
    assert first.score(sample) == second.score(sample)
    assert [path.suffix for path in tmp_path.iterdir()] == [".statistics"]


def test_another_protocol_does_not_find_the_cached_statistics(tmp_path, monkeypatch):
    prepared(tmp_path)
    assert prepared(tmp_path, images(50, 2)).extractor.sizes
    assert prepared(tmp_path, num_real=40).extractor.sizes
    assert prepared(tmp_path, seed=1).extractor.sizes
    monkeypatch.setattr(Pixels, "weights_hash", "other")
    assert prepared(tmp_path).extractor.sizes


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "another's"])
def test_damaged_cache_is_rebuilt(tmp_path, damage, caplog):
    good = prepared(tmp_path).score(sample)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "empty":
        content = b""
    else:
        prepared(tmp_path, images(50, 2))
        (other,) = set(tmp_path.iterdir()) - {path}
        content = other.read_bytes()
    path.write_bytes(content)
    again = prepared(tmp_path)
    assert again.extractor.sizes and again.score(sample) == good
    assert "damaged" in caplog.text
    assert not prepared(tmp_path).extractor.sizes


def test_score_works_where_nothing_can_be_cached(tmp_path, caplog):
    file = tmp_path / "a file"
    file.touch()
    assert prepared(file).score(sample) == prepared(None).score(sample)
    assert "Cannot keep" in caplog.text


def test_torn_write_leaves_no_cache(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(statistics_cache.os, "fsync", full)
    prepared(tmp_path)
    assert not list(tmp_path.iterdir())


# Protocols ---------------------------------------------------------------------------------------


def test_protocol_names_everything():
    score = FrechetScore(Pixels(), num_fake=10).prepare(Data(images(50, 1)))
    ema, raw = score.protocol_for("ema"), score.protocol_for("raw")
    assert ema.fingerprint != raw.fingerprint
    assert ema.real_side_fingerprint == raw.real_side_fingerprint
    assert (ema.num_real, ema.num_fake, ema.extractor) == (50, 10, "pixels")
    assert json.loads(json.dumps(ema.as_dict())) == ema.as_dict()
    values = ema.as_dict()
    for name in values:
        changed = values | {name: {"torch": "0"} if name == "versions" else "changed"}
        assert Protocol(**changed).fingerprint != ema.fingerprint


# The choices under conf/metrics ------------------------------------------------------------------


def choice(name, **overrides):
    return instantiate(OmegaConf.load(ROOT / "conf" / "metrics" / f"{name}.yaml"), **overrides)


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "metrics").glob("*.yaml")))
def test_every_choice_can_be_made(path):
    metric = choice(path.stem)
    assert callable(metric.prepare)


def test_names_of_scores():
    assert choice("fd_avatars").name == "FD/avatar-classifier"
    assert choice("fid10k").name == "FID"
    assert choice("none").prepare(None).score(sample) == {}


def test_points_are_scored_on_their_coordinates():
    points = torch.randn(400, 2, generator=keyed_generator("points"))
    score = AutomaticScore().prepare(Data(points))
    assert score.name == "FD/raw"
    value = score.score(lambda n, start: points[torch.arange(start, start + n) % 400] + 1)
    assert value["FD/raw"] == pytest.approx(2, rel=1e-2)


def test_automatic_choice_for_images(monkeypatch):
    spec = Data(images(50, 1)).spec
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(automatic, "find_inception_weights", lambda: None)
    nothing = AutomaticScore().choose(spec, cuda)
    assert isinstance(nothing, NoScore) and "pip install" in nothing.note
    assert "\n" not in nothing.note
    monkeypatch.setattr(automatic, "find_inception_weights", lambda: "somewhere")
    assert AutomaticScore().choose(spec, cuda).name == "FID"
    assert "metrics=fid10k" in AutomaticScore().choose(spec, cpu).note
    own = Data(images(50, 1, (3, 32, 32)), name="avatars").spec
    assert AutomaticScore().choose(own, cuda).name == "FID"
    embedded = replace(own, attributes=("glasses",))
    assert AutomaticScore().choose(embedded, cpu).name == "FD/avatar-classifier"


# Several processes -------------------------------------------------------------------------------

TWO_RANKS = """
import sys, torch
sys.path[:0] = [{root!r}, {tests!r}]
torch.set_num_threads(1)
from evaluation.score import FrechetScore
from scoring import PlainData, Pixels, images, sample
rank = int(sys.argv[1])
torch.distributed.init_process_group(
    "gloo", init_method="file://{folder}/meet", rank=rank, world_size=2
)
cache = None if rank else "{folder}/cache"  # as on machines that do not share a disk
for settings in 2 * [dict(num_fake=31, cache_dir=cache)] + [dict(num_real=3, num_fake=5)]:
    score = FrechetScore(Pixels(), **settings).prepare(PlainData(images(50, 1)))
    print(score.score(sample)["FD/pixels"])
"""


def test_two_processes_score_as_one(tmp_path):
    script = TWO_RANKS.format(root=str(ROOT), tests=str(ROOT / "tests"), folder=tmp_path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(rank)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    expected = []
    for settings in ({"num_fake": 31}, {"num_fake": 31}, {"num_real": 3, "num_fake": 5}):
        score = FrechetScore(Pixels(), **settings).prepare(PlainData(images(50, 1)))
        expected.append(score.score(sample)["FD/pixels"])
    assert outputs[0] == outputs[1]
    assert [float(value) for value in outputs[0].split()] == pytest.approx(expected, rel=1e-7)
