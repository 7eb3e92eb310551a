"""What a protocol says of its scores: fingerprints, definitions, metrics by `_target_`, ranking."""

import inspect
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
import yaml
from collecting import named_metric
from hydra.utils import get_class, instantiate
from scoring import Pixels, PlainData, Sampled, evaluator, images
from train_cli import ROOT, composed

from saddlepoint.errors import UserError
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.metrics.collectors import MetricOfVectors
from saddlepoint.evaluation.metrics.kid import KID
from saddlepoint.evaluation.metrics.modes import Modes
from saddlepoint.evaluation.real_side import RealSide
from saddlepoint.extractors.extractor import Extracted, Extractor

SCORES = sorted(path.stem for path in (ROOT / "conf" / "score").glob("*.yaml"))

# Fingerprints of the protocols that there are ----------------------------------------------------

#: Of each protocol for made-up data, and of its real side; made before metrics were classes of
#: their own, several extractors and pairs. They may only move for a reason that the changelog says.
FINGERPRINTS = {
    "all_images": ("f29a48ff18b72c361223fe73d49bf391", "ec877b694afb674e0e38189795ec9252"),
    "classifier10k": ("fec9529fd8ecc6f7b71e5899da514eea", "3cad321caa1d30b4c10c2798e1b0b37a"),
    "fid10k": ("77760db716d54efa3a87a0d541d19994", "31ad77c4d89eaa7f29b778816f815441"),
    "mimicry_50k": ("3d77e5f756fad42173bade6aa72f5206", "13185d931fbe40bb0cc473273c41175c"),
    "modes": ("61a7225c54e3185b99cd85699e19db66", "ac60791c6c54c1bd3085b9c9ed1dbc21"),
    "quick": ("fc657fe8111332cdcb22715b8595d26f", "356505cec847c536e54e29e2de2a5f47"),
    "stacked_mnist": ("972ca21845f7c1c3d87dbb0ccea5ff15", "3cad321caa1d30b4c10c2798e1b0b37a"),
    "tntrung_10k5k": ("aae58a11071e3d46476e0488b21f639c", "6ceee1b86d56f815cf10bd85ea5bd020"),
    "all metrics": ("944c4c4e142af6cf64ba614cdb19366d", "2c1c99b1ac2dd43b7e82b8129032ed75"),
}
ALL_METRICS = {
    "fid": {},
    "intra_fid": {"per_class": True},
    "inception_score": {"splits": 7},
    "kid": {"subsets": 10},
    "precision_recall": None,
    "density_coverage": {"neighbours": 4},
    "modes": {"distance": 0.3},
}


class Stub(Extractor):
    name = "stub"
    has_logits = True

    def forward(self, images):
        raise AssertionError


@pytest.fixture
def made_up(monkeypatch):
    """Extractors are not loaded, and real images not looked at."""

    def load(self, device="cpu"):
        self.weights_hash = "made-up"

    for kind in (Extractor, *Extractor.__subclasses__()):
        if kind is not Pixels:
            monkeypatch.setattr(kind, "load", load)
            monkeypatch.setattr(kind, "check", lambda self: None)
            monkeypatch.setattr(kind, "refuse", lambda self, data: None)
            monkeypatch.setattr(kind, "gives_logits", lambda self: True)
    monkeypatch.setattr(RealSide, "fill", lambda *_: None)


def prepared(made, points=False):
    spec = SimpleNamespace(
        name="made-up",
        shape=(2,) if points else (3, 32, 32),
        num_items=60_000,
        classes=("a", "b"),
        attributes=(),
        digest="sha256-made-up",
        annotations={},
    )
    centres = torch.zeros(3, 2) if points else None
    data = SimpleNamespace(spec=spec, mode_centres=centres, mode_std=0.1)
    there = SimpleNamespace(count=60_000, fields=frozenset())
    return made.prepare(data, fakes=there).protocol


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_fingerprints_are_what_they_were(name, made_up):
    if name == "all metrics":
        made = Evaluator(Stub(), ALL_METRICS, num_fake=20_000, seeds=[3, 4])
    else:
        own = {"extractor": Stub()} if name in ("classifier10k", "stacked_mnist") else {}
        made = Evaluator.named(name, **own)
    protocol = replace(prepared(made, name == "modes"), definition=3, generator="raw")
    found = (protocol.fingerprint, protocol.real_side_fingerprint("moments", False))
    assert found == FINGERPRINTS[name]
    assert not {"extractors", "inputs", "annotations"} & set(protocol.as_dict())


def test_every_setting_that_moves_a_score_is_in_every_protocol():
    arguments = set(inspect.signature(Evaluator).parameters) - {"extractors", "note", "baselines"}
    for path in (ROOT / "conf" / "protocol").glob("*.yaml"):
        settings = yaml.safe_load(path.read_text())
        if "scores" in settings:
            assert arguments == set(settings) - {"_target_", "baselines"}, path.stem


def test_labels_enter_a_protocol_where_a_score_reads_them():
    def protocol(name, digest):
        data = PlainData(images(30, 1))
        data.spec.classes, data.spec.annotations = ("a", "b"), {"label": digest, "mask": "m"}
        return evaluator(scores={name: {}}, num_fake=20).prepare(data).protocol

    fid = [protocol("fid", digest) for digest in ("x", "y")]
    assert fid[0] == fid[1] and not fid[0].annotations  # relabelled, it is the same data set
    intra = [protocol("intra_fid", digest) for digest in ("x", "y")]
    assert intra[0].annotations == {"label": "x"}
    assert intra[0].fingerprint != intra[1].fingerprint
    sides = {p.real_side_fingerprint("class moments", True) for p in (*fid, *intra)}
    assert len(sides) == 3


# Metrics -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCORES)
def test_every_score_has_a_file_that_names_its_class_and_all_options(name):
    settings = yaml.safe_load((ROOT / "conf" / "score" / f"{name}.yaml").read_text())
    kind = get_class(settings.pop("_target_"))
    assert kind.name == name == named_metric(name).name
    assert named_metric(name).definition() == kind().definition()
    options = [
        p.name for p in inspect.signature(kind).parameters.values() if p.kind is not p.VAR_KEYWORD
    ]
    of_sets = hasattr(kind, "of_fakes")
    assert list(settings) == ([*dict.fromkeys([*options, "extractor"])] if of_sets else options)
    assert (ROOT / "conf" / "score" / f"{name}.yaml").read_text().startswith("# ")


def test_what_a_metric_keeps_besides_its_options_moves_no_fingerprint():
    metric = Modes(registered=2)
    before = metric.definition()
    assert before == {"radius": 3.0, "distance": None, "registered": 2}
    metric.cached, metric.other = torch.zeros(3), {"made": "later"}
    assert metric.definition() == before
    kid = KID(subsets=3, subset_size=10)
    score = evaluator(scores={"kid": kid}, num_fake=20).prepare(PlainData(images(30, 1)))
    before = score.protocol.fingerprint
    kid.cached = 7
    assert score.prepare(PlainData(images(30, 1))).protocol.fingerprint == before


def test_a_command_line_adds_scores_by_their_short_names(tmp_path):
    words = ["protocol=quick", "+protocol.scores.kid.subset_size=50", "+protocol.scores.fid={}"]
    made = instantiate(composed(words).protocol, _convert_="all")
    assert list(made.metrics) == ["fid", "density_coverage", "kid"] and made.name is None
    assert made.metrics["kid"].definition() == KID(subset_size=50).definition()
    grouped = ["protocol=quick", "+score@protocol.scores.kid=kid", "protocol.scores.kid.subsets=3"]
    made = instantiate(composed(grouped).protocol, _convert_="all")
    assert made.metrics["kid"].subsets == 3


class Sharpness(MetricOfVectors):
    """A metric of one's own: nothing in the package knows it."""

    directions: ClassVar = {"sharpness": "larger", "sharpness_std": None}

    def __init__(self, power=2.0, **settings):
        super().__init__(**settings)
        self.power = power
        self.cached = None

    def compute(self, real, fake):
        self.cached = fake["vectors"].features.diff(dim=1).abs().pow(self.power)
        return {"sharpness": self.cached.mean().item(), "sharpness_std": self.cached.std().item()}


def test_a_metric_of_ones_own_is_named_by_target():
    own = {"sharp": {"_target_": f"{__name__}.Sharpness", "power": 1.0}}
    score = evaluator(scores={"kid": {"subset_size": 9}, **own}, num_fake=20)
    result = score.prepare(PlainData(images(30, 1))).score(Sampled())
    assert list(result.means) == [
        *("KD/pixels", "KD_std/pixels", "sharpness/pixels", "sharpness_std/pixels")
    ]
    assert result.directions == {"KD/pixels": "smaller", "sharpness/pixels": "larger"}
    assert result.ranking == ("KD/pixels",)  # the protocol's first
    scores = result.protocol.scores
    assert scores[f"{__name__}.Sharpness"] == {"power": 1.0}


def test_a_derived_metric_is_not_taken_for_its_parent():
    class Mine(KID):
        def __init__(self, extra=1, **settings):
            super().__init__(**settings)
            self.extra = extra

    mine = Mine(extra=2, subsets=7)
    assert mine.name == f"{__name__}.{Mine.__qualname__}" != KID.name
    assert mine.definition() == {"extra": 2} | KID(subsets=7).definition()


class Undirected(Sharpness):
    directions: ClassVar = {"sharpness": "larger"}


class Forgetful(Sharpness):
    def __init__(self, size=3):
        super().__init__()


def test_what_a_metric_leaves_open_is_named():
    data = PlainData(images(30, 1))
    score = evaluator(scores={"x": Undirected()}, num_fake=20).prepare(data)
    with pytest.raises(UserError, match="gives sharpness_std and does not say which way"):
        score.score(Sampled())
    with pytest.raises(TypeError, match="set self.size"):
        Forgetful().definition()
    with pytest.raises(UserError, match="The score 'x' is a Pixels"):
        evaluator(scores={"x": {"_target_": "scoring.Pixels"}})


# Ranking -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "ranking"),
    [
        (["density_coverage", "fid"], ["FD/pixels"]),
        (["density_coverage", "precision_recall"], ["density/pixels"]),
        (["kid", "density_coverage"], ["KD/pixels"]),
    ],
)
def test_frechet_distances_rank_and_without_one_the_first_score(scores, ranking):
    options = {"kid": {"subset_size": 9}}
    made = evaluator(scores={name: options.get(name) for name in scores}, num_fake=20)
    result = made.prepare(PlainData(images(30, 1))).score(Sampled())
    assert list(result.ranking) == ranking
    assert set(result.directions) == {name for name in result.means if "_std" not in name}


# Several extractors ------------------------------------------------------------------------------


class Columns(Pixels):
    """Means of columns."""

    name = "columns"
    weights_hash = "of the columns"
    resize = "to one row"

    def forward(self, images):
        self.sizes.append(len(images))
        return Extracted(images.float().mean(2).flatten(1))


def both(**settings):
    scores = {
        "fid": {},
        "kid": {"subset_size": 9, "subsets": 3},
        "by_columns": {
            "_target_": "saddlepoint.evaluation.metrics.fid.FID",
            "extractor": "other",
        },
    }
    return evaluator(scores=scores, extractors={"other": Columns()}, num_fake=20, **settings)


def test_one_pass_feeds_several_extractors(tmp_path):
    data = PlainData(images(30, 1))
    calls = []
    fakes = Sampled(lambda n, start: calls.append(n) or images(40, 2)[start : start + n])
    score = both(batch_size=8, cache_dir=tmp_path).prepare(data)
    result = score.score(fakes)
    assert list(result.means) == ["FD/pixels", "KD/pixels", "KD_std/pixels", "FD/columns"]
    assert result.ranking == ("FD/pixels", "FD/columns")
    sizes = [8, 8, 8, 6, 8, 8, 4]
    assert score.extractors[None].sizes == score.extractors["other"].sizes == sizes
    assert calls == [8, 8, 4]
    alone = Evaluator(Columns(), {"fid": {}}, num_fake=20).prepare(data).score(fakes)
    assert alone.means["FD/columns"] == pytest.approx(result.means["FD/columns"], rel=1e-9)
    # The real sides of both are cached, each under its own extractor.
    again = both(batch_size=8, cache_dir=tmp_path).prepare(data)
    assert again.extractors["other"].sizes == again.extractors[None].sizes == []
    assert again.score(fakes).means == result.means


def test_other_extractors_enter_the_protocol():
    data = PlainData(images(30, 1))
    protocol = both().prepare(data).protocol
    assert protocol.extractor == "pixels"
    assert protocol.extractors == {
        "columns": {
            "hash": "of the columns",
            "resize": "to one row",
            "quantisation": Extractor.quantisation,
        }
    }
    assert set(protocol.scores) == {"fid", "kid", "fid/columns"}
    changed = {"columns": protocol.extractors["columns"] | {"hash": "x"}}
    assert replace(protocol, extractors=changed).fingerprint != protocol.fingerprint
    # One that no score asks for is not there.
    unused = evaluator(extractors={"other": Columns()}, num_fake=20).prepare(data).protocol
    assert unused.fingerprint == evaluator(num_fake=20).prepare(data).protocol.fingerprint


def test_extractors_that_are_missing_or_alike_are_refused():
    data = PlainData(images(30, 1))
    kid = {"kid": {"extractor": "vgg", "subset_size": 9}}
    with pytest.raises(UserError, match=r"\+protocol.extractors.vgg=vgg16"):
        evaluator(scores=kid)
    with pytest.raises(UserError, match="names none: set extractor=vgg16"):
        Evaluator(None, {"fid": {}})
    scores = {"fid": {}, "again": {"_target_": "saddlepoint.evaluation.metrics.fid.FID"}}
    with pytest.raises(UserError, match="both be called FD/pixels"):
        evaluator(scores=scores, num_fake=20).check(data)


def test_the_command_line_names_several_extractors():
    words = [
        *("protocol=quick", "+protocol.extractors.values=raw"),
        "+protocol.scores.kid={extractor: values}",
    ]
    made = instantiate(composed(words).protocol, _convert_="all")
    assert [extractor.name for extractor in made.extractors.values()] == [
        "avatar-classifier",
        "raw",
    ]


def test_no_file_lists_all_metrics():
    text = (Path(ROOT) / "evaluation" / "metrics" / "__init__.py").read_text()
    assert "import" not in text
