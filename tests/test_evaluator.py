import contextlib
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from scoring import Pixels, PlainData, Sampled, evaluator, images, sample
from two_ranks import on_two_ranks

from saddlepoint.datamodules import fields
from saddlepoint.datamodules.avatars import Avatars
from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.cifar import CIFAR10
from saddlepoint.datamodules.pixels import to_uint8
from saddlepoint.datamodules.source import Source
from saddlepoint.datamodules.toys import Gaussians8, SwissRoll
from saddlepoint.errors import UserError
from saddlepoint.evaluation.automatic import AutomaticScores
from saddlepoint.evaluation.evaluator import ConstantImagesError, Evaluator, NoScores
from saddlepoint.evaluation.fakes import GeneratorFakes, GivenFakes
from saddlepoint.evaluation.frechet import FeatureStatistics, frechet_distance
from saddlepoint.evaluation.jpeg import jpeg_round_trip
from saddlepoint.evaluation.protocol import Protocol
from saddlepoint.extractors import inception
from saddlepoint.extractors.inception_weights import InceptionWeights
from saddlepoint.items import Items
from saddlepoint.randomness import keyed_generator

pytestmark = pytest.mark.numerical

ROOT = Path(__file__).resolve().parent.parent


class Data(DataModule):
    def __init__(self, items, name="squares"):
        super().__init__(name, num_workers=0)
        self.items = items

    def load(self):
        return Source(image=(fields.Image if self.items.ndim == 4 else fields.Vector)(self.items))


def statistics(values):
    result = FeatureStatistics()
    result.update(Pixels()(values).features)
    return result


def test_score_is_the_distance_of_all_reals_and_the_fakes_asked_for():
    data = images(50, 1)
    score = evaluator(num_fake=33, batch_size=8).prepare(Data(data))
    expected = frechet_distance(statistics(data), statistics(to_uint8(sample(33, 0))))
    assert score.score(Sampled()).means == {"FD/pixels": pytest.approx(expected, rel=1e-12)}
    assert score.extractor.sizes == [8] * 6 + [2] + [8] * 4 + [1]


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_score_does_not_depend_on_the_batch_size(batch_size):
    def value(size):
        score = evaluator(num_fake=33, batch_size=size).prepare(Data(images(50, 1)))
        return score.score(Sampled()).means["FD/pixels"]

    assert value(batch_size) == pytest.approx(value(7), rel=1e-10)


def test_uint8_and_float_samples_score_the_same():
    score = evaluator(num_fake=20).prepare(Data(images(50, 1)))
    floats = score.score(Sampled()).means
    assert score.score(Sampled(lambda n, start: to_uint8(sample(n, start)))).means == floats


def test_chosen_reals_are_distinct_and_keyed():
    data = torch.arange(50, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    seen = []

    def chosen(seed, num_real):
        score = evaluator(num_real=num_real, num_fake=2, seeds=[seed]).prepare(Data(data))
        real = score.real[None]["moments"].statistics
        seen.append(sorted(real.state()["vectors"][:, 0].int().tolist()) if num_real < 5 else 0)
        return real.mean[0].item(), seen[-1], real.count

    assert chosen(0, 4) == chosen(0, 4)
    assert chosen(0, 4)[1] != chosen(1, 4)[1]
    assert len(set(chosen(0, 4)[1])) == 4
    assert chosen(0, 50)[0] == chosen(1, 50)[0] == pytest.approx(24.5)


def test_too_few_reals_are_an_error():
    with pytest.raises(UserError, match=r"60 real images and squares has 50"):
        evaluator(num_real=60).prepare(Data(images(50, 1)))
    for counts in ({"num_fake": 1}, {"num_real": 1}):
        with pytest.raises(UserError, match="at least 2 images"):
            evaluator(**counts).prepare(Data(images(50, 1)))


def test_samples_of_another_shape_are_an_error():
    score = evaluator(num_fake=4).prepare(Data(images(50, 1)))
    with pytest.raises(UserError, match=r"\(1, 8, 8\)"):
        score.score(Sampled(lambda n, start: torch.zeros(n, 1, 8, 8)))
    with pytest.raises(RuntimeError, match="3 generated images came instead of 4"):
        score.score(Sampled(lambda n, start: torch.rand(n - 1, 1, 4, 4)))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_samples_that_are_not_finite_are_an_error(bad):
    def broken(n, start):
        values = sample(n, start)
        if start <= 21 < start + n:
            values[21 - start, 0, 1, 1] = bad
        return values

    score = evaluator(num_fake=33, batch_size=8).prepare(Data(images(50, 1)))
    with pytest.raises(UserError, match="generated images hold NaN"):
        score.score(Sampled(broken))


def test_constant_images_are_an_error_that_names_the_cause():
    score = evaluator(num_fake=30, batch_size=7).prepare(Data(images(50, 1)))
    with pytest.raises(ConstantImagesError, match="collapsed"):
        score.score(Sampled(lambda n, start: torch.zeros(n, 1, 4, 4)))
    # All but one alike is a score: a poor one.
    almost = Sampled(lambda n, start: torch.zeros(n, 1, 4, 4) + 1.0 * (start == 28))
    assert score.score(almost).means["FD/pixels"] > 0


# Several scores, several seeds -------------------------------------------------------------------


def test_all_scores_of_a_protocol_come_from_one_pass():
    scores = {
        "fid": {},
        "kid": {"subsets": 3, "subset_size": 10},
        "precision_recall": {},
        "density_coverage": None,
    }
    together = evaluator(scores=scores, num_fake=33, batch_size=8).prepare(Data(images(50, 1)))
    values = together.score(Sampled()).means
    assert together.extractor.sizes == [8] * 6 + [2] + [8] * 4 + [1]
    assert {name.split("/")[0] for name in values} == {
        *("FD", "KD", "KD_std", "precision", "recall", "density", "coverage")
    }
    assert all(name.endswith("/pixels") and math.isfinite(values[name]) for name in values)
    for key, options in scores.items():
        alone = evaluator(scores={key: options}, num_fake=33).prepare(Data(images(50, 1)))
        for name, value in alone.score(Sampled()).means.items():
            assert values[name] == pytest.approx(value, rel=1e-9)


def test_score_is_the_mean_over_evaluation_seeds():
    def shifted(n, start):
        return sample(n, start + 1000 * fakes.seeds[-1])

    fakes = Sampled(shifted)
    both = evaluator(num_fake=20, seeds=[4, 7]).prepare(Data(images(50, 1))).score(fakes)
    assert fakes.seeds == [4, 7]
    one = [
        evaluator(num_fake=20, seeds=[seed]).prepare(Data(images(50, 1))).score(fakes)
        for seed in (4, 7)
    ]
    values = [scores.means["FD/pixels"] for scores in one]
    assert both.by_seed == {"FD/pixels": values} and values[0] != values[1]
    assert both.means["FD/pixels"] == pytest.approx(sum(values) / 2)
    assert one[0].by_seed == {}


def test_scores_that_cannot_be_had_are_refused_at_once():
    data = Data(images(50, 1))
    with pytest.raises(UserError, match="no classifier"):
        evaluator(scores={"inception_score": {}}).check(data)
    with pytest.raises(UserError, match="subset_size"):
        evaluator(scores={"kid": {}}).check(data)
    with pytest.raises(UserError, match="squares has none"):
        evaluator(scores={"intra_fid": {}}).check(data)
    with pytest.raises(UserError, match="no score 'fud'"):
        evaluator(scores={"fud": {}})
    with pytest.raises(UserError, match="no end of images"):
        evaluator(num_fake=None).check(data)
    with pytest.raises(UserError, match="stretch=tilted is not to be had"):
        evaluator(stretch="tilted")


# What published protocols do to images -----------------------------------------------------------


def test_stretch_maps_the_extremes_of_all_images_to_the_full_range():
    dim = Sampled(lambda n, start: sample(n, start) * 0.5 - 0.25)
    stretched = evaluator(num_fake=33, batch_size=8, stretch="set").prepare(Data(images(50, 1)))
    everything = sample(33, 0) * 0.5 - 0.25
    low, high = everything.min(), everything.max()
    full = Sampled(lambda n, start: (dim.function(n, start) - low) / (high - low) * 2 - 1)
    plain = evaluator(num_fake=33, batch_size=8).prepare(Data(images(50, 1)))
    expected = plain.score(full).means["FD/pixels"]
    assert stretched.score(dim).means["FD/pixels"] == pytest.approx(expected, rel=1e-5)
    assert plain.score(dim).means["FD/pixels"] > 1.1 * expected


def test_jpeg_round_trip_is_pillows_on_both_sides():
    photos = images(40, 1, (3, 16, 16))
    photos = torch.nn.functional.avg_pool2d(photos.float(), 5, 1, 2).to(torch.uint8)

    def by_hand(items):
        for image in items:
            file = io.BytesIO()
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=75)
            yield torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)

    stored = torch.stack(list(by_hand(photos)))
    assert not torch.equal(stored, photos)
    fakes = Sampled(lambda n, start: photos[start : start + n] // 2)
    real, fake = statistics(stored), statistics(torch.stack(list(by_hand(photos // 2))))
    score = evaluator(num_fake=40, jpeg=75).prepare(Data(photos))
    expected = frechet_distance(real, fake)
    assert score.score(fakes).means["FD/pixels"] == pytest.approx(expected, rel=1e-9)
    grey = images(2, 1, (1, 16, 16))
    assert jpeg_round_trip(grey, 95).shape == grey.shape


class Game:
    """What `GeneratorFakes` wants of a game."""

    is_averaged = needs_data = False
    condition = None

    def __init__(self):
        norm = torch.nn.BatchNorm1d(16)
        torch.manual_seed(0)
        self.generator = torch.nn.Sequential(torch.nn.Linear(4, 16), norm, torch.nn.Tanh())
        norm.running_mean += 0.5

    def sampled(self):
        return self.generator

    def inputs_at(self, positions, seed=None, data=None):
        draws = [torch.randn(4, generator=keyed_generator(seed, k)) for k in positions]
        return Items(latents=torch.stack(draws))

    def sample(self, inputs):
        return self.generator.eval()(inputs.latents).view(-1, 1, 4, 4)


@torch.no_grad()
def test_batch_statistics_are_those_of_64_images_and_leave_no_trace():
    game = Game()
    fakes = GeneratorFakes(game)
    norm = game.generator[1]
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    batches = fakes.batches(range(64, 150), 10, seed=3, batch_norm="batch of 64")
    parts = [batch.image for batch in batches]
    assert [len(part) for part in parts] == [64, 22]
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    hidden = game.generator[0](game.inputs_at(range(128, 192), 3).latents)
    own = (hidden - hidden.mean(0)) / (hidden.var(0, correction=0) + norm.eps).sqrt()
    assert torch.allclose(parts[1].flatten(1), own.tanh()[:22], atol=1e-6)
    running = torch.cat([b.image for b in fakes.batches(range(64, 150), 10, seed=3)])
    assert not torch.allclose(running[:64], parts[0], atol=0.1)
    protocol = evaluator(num_fake=128, batch_norm="batch").prepare(Data(images(50, 1))).protocol
    assert protocol.batch_norm == "batch of 64"


# Images from elsewhere ---------------------------------------------------------------------------


def test_given_images_are_counted_drawn_under_the_seed_and_matched_by_class():
    given = Data(images(30, 2))
    score = evaluator(num_fake=None).prepare(Data(images(50, 1)), fakes=GivenFakes(given))
    assert score.protocol.num_fake == 30
    expected = frechet_distance(statistics(images(50, 1)), statistics(images(30, 2)))
    result = score.score(GivenFakes(given))
    assert result.means["FD/pixels"] == pytest.approx(expected, rel=1e-9)
    assert result.protocol.generator == "images"
    with pytest.raises(UserError, match="31 generated images and there are 30"):
        evaluator(num_fake=31).prepare(Data(images(50, 1)), fakes=GivenFakes(given))
    few = GivenFakes(given, wanted=10)
    first, second, again = (
        torch.cat([b.image for b in few.batches(range(10), 4, seed)]) for seed in (0, 1, 0)
    )
    assert torch.equal(first, again) and not torch.equal(first, second)
    assert len(first.flatten(1).unique(dim=0)) == 10

    # However they are sorted, fewer than there are come from all over the set.
    halves = Data(torch.cat([torch.zeros(15, 3, 4, 4), torch.ones(15, 3, 4, 4)]).mul(255).byte())
    asked = []
    score = evaluator(num_fake=10).prepare(Data(images(50, 1)), fakes=GivenFakes(halves))
    taken = halves.real_batches
    halves.real_batches = lambda size, chosen: asked.append(chosen) or taken(size, chosen)
    with contextlib.suppress(UserError):  # of another size
        score.score(GivenFakes(halves))
    assert asked and set((asked[0] >= 15).tolist()) == {True, False}

    class Named(Data):
        def load(self):
            labels = torch.arange(30) % 2
            return super().load().replaced(label=fields.Label(labels, ("dog", "cat")))

    matched = GivenFakes(Named(images(30, 2)), classes=("cat", "cow", "dog"))
    labels = torch.cat([batch.label for batch in matched.batches(range(4), 4, 0)])
    assert labels.tolist() == [2, 0, 2, 0]


# The cache of real statistics --------------------------------------------------------------------


def prepared(folder, data=None, **settings):
    score = evaluator(num_fake=10, cache_dir=folder, **settings)
    return score.prepare(Data(images(50, 1) if data is None else data))


def test_real_statistics_are_computed_once(tmp_path):
    first, second = prepared(tmp_path), prepared(tmp_path)
    assert first.extractor.sizes and not second.extractor.sizes
    assert first.score(Sampled()) == second.score(Sampled())
    assert [path.suffix for path in tmp_path.iterdir()] == [".statistics"]


def test_another_protocol_does_not_find_the_cached_statistics(tmp_path, monkeypatch):
    prepared(tmp_path)
    assert prepared(tmp_path, images(50, 2)).extractor.sizes
    assert prepared(tmp_path, num_real=40).extractor.sizes
    assert not prepared(tmp_path, seeds=[1]).extractor.sizes
    assert prepared(tmp_path, num_real=40, seeds=[1]).extractor.sizes
    monkeypatch.setattr(Pixels, "weights_hash", "other")
    assert prepared(tmp_path).extractor.sizes


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "another's"])
def test_damaged_cache_is_rebuilt(tmp_path, damage, caplog):
    good = prepared(tmp_path).score(Sampled())
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
    assert again.extractor.sizes and again.score(Sampled()) == good
    assert "damaged" in caplog.text
    assert not prepared(tmp_path).extractor.sizes


def test_score_works_where_nothing_can_be_cached(tmp_path, caplog):
    file = tmp_path / "a file"
    file.touch()
    assert prepared(file).score(Sampled()) == prepared(None).score(Sampled())
    assert "Cannot keep" in caplog.text


def test_torn_write_leaves_no_cache(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    prepared(tmp_path)
    assert not list(tmp_path.iterdir())


# Protocols ---------------------------------------------------------------------------------------


def test_protocol_names_everything():
    score = evaluator(num_fake=10).prepare(Data(images(50, 1)))
    protocol = score.protocol
    raw = score.protocol_for(Sampled())
    assert protocol.fingerprint != raw.fingerprint
    assert (protocol.num_real, protocol.num_fake, protocol.extractor) == (50, 10, "pixels")
    assert json.loads(json.dumps(protocol.as_dict())) == protocol.as_dict()
    values = protocol.as_dict()
    changes = {"definition": 0, "scores": {"kid": {}}, "seeds": (1,), "jpeg": 75}
    for name in values:
        changed = Protocol(**(values | {name: changes.get(name, "changed")}))
        # A name moves nothing.
        assert (changed.fingerprint == protocol.fingerprint) == (name == "name")


def test_real_sides_are_shared_between_protocols_that_see_the_same_reals():
    protocol = evaluator(num_fake=10).prepare(Data(images(50, 1))).protocol
    side = protocol.real_side_fingerprint("moments", all_reals=True)
    for same in ({"num_fake": 9}, {"generator": "raw"}, {"scores": {}}, {"seeds": (5,)}):
        assert replace(protocol, **same).real_side_fingerprint("moments", True) == side
    for other in ({"num_real": 49}, {"extractor_hash": "x"}, {"jpeg": 75}):
        assert replace(protocol, **other).real_side_fingerprint("moments", True) != side
    drawn = [
        replace(protocol, seeds=(seed,)).real_side_fingerprint("moments", all_reals=False)
        for seed in (0, 1)
    ]
    assert len({side, *drawn, protocol.real_side_fingerprint("vectors", True)}) == 4


PROTOCOLS = sorted(path.stem for path in (ROOT / "conf" / "protocol").glob("*.yaml"))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_can_be_made(name):
    settings = OmegaConf.load(ROOT / "conf" / "protocol" / f"{name}.yaml")
    if settings.get("extractor") == "classifier":
        settings.weights = "classifiers/some.pt"  # who asks for it says which
    made = instantiate(settings, _convert_="all")
    assert callable(made.prepare)
    if isinstance(made, Evaluator):
        assert made.name == name


def test_a_protocol_that_is_altered_loses_its_name():
    assert Evaluator.named("quick").name == "quick"
    assert Evaluator.named("quick", batch_size=3, cache_dir="x").name == "quick"
    assert Evaluator.named("quick", num_fake=4999).name is None
    assert Evaluator.named("quick", scores={"fid": {}}).name is None
    assert Evaluator("raw", {"fid": {}}, name="my own").name is None


def test_published_protocols_are_as_their_papers_have_them():
    mimicry = Evaluator.named("mimicry_50k", extractor=Pixels())
    assert (mimicry.num_real, mimicry.num_fake, mimicry.seeds) == (50_000, 50_000, (0, 1, 2))
    assert list(mimicry.metrics) == ["fid", "inception_score", "kid"]
    tntrung = Evaluator.named("tntrung_10k5k", extractor=Pixels())
    assert (tntrung.num_real, tntrung.num_fake, tntrung.jpeg) == (10_000, 5000, 75)
    assert tntrung.batch_norm == "batch of 64"


def test_no_score_gives_none():
    assert NoScores().prepare(None).score(Sampled()).means == {}


def test_points_are_scored_on_their_coordinates():
    points = torch.randn(400, 2, generator=keyed_generator("points"))
    data = Data(points)
    data.protocol = "points"
    score = AutomaticScores().prepare(data)
    fakes = Sampled(lambda n, start: points[torch.arange(start, start + n) % 400] + 1)
    assert score.score(fakes).means == {"FD/raw": pytest.approx(2, rel=1e-2)}


def test_automatic_choice_is_the_datas_own_where_the_machine_allows_it(monkeypatch):
    def choose(data, device):
        return AutomaticScores().choose(data, torch.device(device))

    found = InceptionWeights(Path("somewhere"), "a package", has_classifier=False)
    data = Data(images(50, 1))
    assert data.protocol == "fid10k"
    monkeypatch.setattr(inception, "find_inception_weights", lambda *_: None)
    nothing = choose(data, "cuda")
    assert isinstance(nothing, NoScores) and "pip install" in nothing.note
    assert "\n" not in nothing.note
    monkeypatch.setattr(inception, "find_inception_weights", lambda *_: found)
    chosen = choose(data, "cuda")
    assert (chosen.extractor.score_name("FID"), chosen.num_real) == ("FID", 50)
    many = SimpleNamespace(protocol="fid10k", spec=replace(data.spec, num_items=20_000))
    assert choose(many, "cuda").name == "fid10k"
    assert "monitor=fid10k" in choose(data, "cpu").note
    data.protocol = "quick"
    assert choose(data, "cpu").name == "quick"
    # Only what takes long to compute is kept on disk.
    caches = [AutomaticScores("there").choose(data, torch.device("cpu")).cache_dir]
    data.protocol = "fid10k"
    caches.append(AutomaticScores("there").choose(data, torch.device("cuda")).cache_dir)
    assert caches == [None, Path("there")]
    data.protocol = None
    assert "choose one by monitor=" in choose(data, "cuda").note
    protocols = {kind: kind.protocol for kind in (Avatars, Gaussians8, SwissRoll, CIFAR10)}
    assert list(protocols.values()) == ["quick", "modes", "points", "fid10k"]


# Several processes -------------------------------------------------------------------------------

TWO_RANKS = """
from scoring import PlainData, Sampled, evaluator, images
cache = None if rank else f"{folder}/cache"  # as on machines that do not share a disk
scores = dict(fid={}, kid=dict(subsets=2, subset_size=9), density_coverage={})
many = dict(num_fake=31, scores=scores, cache_dir=cache)
for settings in (many, many, dict(num_real=3, num_fake=5)):
    score = evaluator(**settings).prepare(PlainData(images(50, 1)))
    print(*score.score(Sampled()).means.values())
"""


def test_two_processes_score_as_one(tmp_path):
    outputs = on_two_ranks(TWO_RANKS, tmp_path)
    expected = []
    all_scores = {"fid": {}, "kid": {"subsets": 2, "subset_size": 9}, "density_coverage": {}}
    many = {"num_fake": 31, "scores": all_scores}
    for settings in (many, many, {"num_real": 3, "num_fake": 5}):
        score = evaluator(**settings).prepare(PlainData(images(50, 1)))
        expected += score.score(Sampled()).means.values()
    assert outputs[0] == outputs[1]
    assert [float(value) for value in outputs[0].split()] == pytest.approx(expected, rel=1e-7)
