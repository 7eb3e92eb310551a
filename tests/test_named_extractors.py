"""Extractors by name, in miniature: networks of few weights in the true files and formats."""

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from hydra.utils import instantiate
from torch import nn
from torch_fidelity import feature_extractor_clip as clip
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY
from torch_fidelity.utils import create_feature_extractor

from saddlepoint.errors import UserError
from saddlepoint.extractors import fidelity
from saddlepoint.extractors.avatar_classifier import AvatarClassifier
from saddlepoint.extractors.extractor import hash_of_weights
from saddlepoint.extractors.fidelity import FidelityExtractor
from saddlepoint.extractors.inception import InceptionV3Compat
from saddlepoint.extractors.named import extractor_named, names
from saddlepoint.extractors.network import NetworkExtractor
from saddlepoint.extractors.raw import RawValues
from saddlepoint.extractors.trained_classifier import TrainedClassifier


def images(count=3, channels=3, size=32):
    return torch.randint(256, (count, channels, size, size), dtype=torch.uint8)


class TinyVGG(nn.Module):
    """The parts of torchvision's VGG-16 under their names."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 7, stride=8), nn.ReLU())
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        hidden = [nn.Linear(16, 6), nn.ReLU(True), nn.Dropout(), nn.Linear(6, 5)]
        self.classifier = nn.Sequential(*hidden, nn.ReLU(True), nn.Dropout(), nn.Linear(5, 3))

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class TinyCLIP(nn.Module):
    """What CLIP's file holds besides the text model's layers."""

    def __init__(self, kind):
        super().__init__()
        if kind == "vit":
            self.visual = clip.VisionTransformer(32, 16, 64, layers=2, heads=1, output_dim=16)
        else:
            self.visual = clip.ModifiedResNet((1, 1, 1, 1), 16, 4, input_resolution=64, width=8)
        self.text_projection = nn.Parameter(torch.randn(8, 16))
        self.logit_scale = nn.Parameter(torch.ones([]))

    def forward(self, x):
        return self.visual(x) * self.logit_scale


DINOV2 = """
import os, torch
from torch import nn

dependencies = ["torch"]

def dinov2_vits14(pretrained=True):
    print("this code talks")
    model = nn.Sequential(nn.Conv2d(3, 6, 14, 14), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    if pretrained:
        file = os.path.join(torch.hub.get_dir(), "checkpoints", "dinov2_vits14_pretrain.pth")
        model.load_state_dict(torch.load(file))
    return model
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of torch.hub, and no internet."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def no_internet(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_internet)
    monkeypatch.setattr(torch.hub, "list", no_internet)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub"


def put(name, hub, monkeypatch, kind="vit"):
    """Random weights where torch-fidelity keeps its own, with their hash; returns the file."""
    file = hub / "checkpoints" / FidelityExtractor(name).published.file_name
    if name == "vgg16":
        monkeypatch.setattr(torchvision.models, "vgg16", TinyVGG)
        torch.save(TinyVGG().state_dict(), file)
    elif name.startswith("clip"):
        network = TinyCLIP(kind).eval()
        side = network.visual.input_resolution
        with warnings.catch_warnings(action="ignore"):  # tracing is deprecated
            torch.jit.trace(network, torch.rand(1, 3, side, side)).save(file)
    else:
        code = hub / fidelity.DINOV2_CODE
        code.mkdir()
        (code / "hubconf.py").write_text(DINOV2)
        torch.save(nn.Sequential(nn.Conv2d(3, 6, 14, 14)).state_dict(), file)
        return file  # its publisher names no hash
    kind = FEATURE_EXTRACTORS_REGISTRY[name]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:20]
    published = dict(fidelity._PUBLISHED)
    real = published[kind]
    published[kind] = lambda name: replace(real(name), sha256=digest)
    monkeypatch.setattr(fidelity, "_PUBLISHED", published)
    return file


# torch-fidelity's --------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated")
@pytest.mark.parametrize(
    ("name", "layer", "kind", "size"),
    [
        ("vgg16", None, None, 224),
        ("vgg16", "fc2", None, 224),
        ("clip-vit-b-32", None, "vit", 32),
        ("clip-rn50", None, "resnet", 64),
        ("dinov2-vit-s-14", None, None, 224),
    ],
)
def test_features_are_those_of_torch_fidelity(name, layer, kind, size, hub, monkeypatch):
    file = put(name, hub, monkeypatch, kind)
    extractor = FidelityExtractor(name, layer)
    layers = [extractor.layer]
    if name.startswith("dinov2"):
        local, load = str(hub / fidelity.DINOV2_CODE), torch.hub.load
        # torch-fidelity takes the code from GitHub and has no argument for the weights.
        with monkeypatch.context() as patch:
            patch.setattr(torch.hub, "load", lambda _, model: load(local, model, source="local"))
            theirs = create_feature_extractor(name, layers, cuda=False, verbose=False)
    else:
        theirs = create_feature_extractor(
            name, layers, cuda=False, verbose=False, feature_extractor_weights_path=str(file)
        )
    before = torch.get_rng_state()
    extractor.check()
    assert not extractor.gives_logits()
    extractor.load()
    extractor.load()
    assert torch.equal(torch.get_rng_state(), before)

    pixels = images()
    expected = theirs(pixels)[0]
    features, logits = extractor(pixels)
    assert torch.equal(features, expected) and logits is None
    assert features.std() > 0
    torch.testing.assert_close(extractor(pixels[1:2]).features, features[1:2])
    grey = images(channels=1)
    assert torch.equal(extractor(grey).features, extractor(grey.expand(-1, 3, -1, -1)).features)
    assert extractor.weights_hash == hash_of_weights(theirs)
    assert extractor.resize == f"bilinear {size} x {size}, TensorFlow 1"
    assert extractor.score_name("FID") == "FD/" + (name if layer is None else f"{name}-{layer}")
    assert not any(p.requires_grad or p.is_meta for p in extractor.parameters())
    assert not any(module.training for module in extractor.network.modules())


@pytest.mark.parametrize("name", ["vgg16", "clip-vit-b-32", "dinov2-vit-s-14"])
def test_missing_weights_are_named_before_anything_is_loaded(name, hub):
    for download, cause in ((True, "no route to host"), (False, "none were found")):
        extractor = FidelityExtractor(name, download=download)
        with pytest.raises(UserError) as caught:
            extractor.check()
        message = str(caught.value)
        assert cause in message and extractor.published.url in message and "\n" not in message
        assert "weights=PATH" in message and str(hub / "checkpoints") in message
    with pytest.raises(UserError, match="no weights of .* at .*absent.pth"):
        FidelityExtractor(name, weights=hub / "absent.pth").check()


@pytest.mark.parametrize("name", ["vgg16", "clip-vit-b-32"])
def test_weights_that_fail_their_hash_are_refused(name, hub, monkeypatch):
    file = put(name, hub, monkeypatch)
    copy = hub / "copy"
    copy.write_bytes(file.read_bytes())
    FidelityExtractor(name, weights=copy, download=False).check()
    copy.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match="does not hold the weights"):
        FidelityExtractor(name, weights=copy).check()
    file.write_bytes(b"torn")
    with pytest.raises(UserError, match="does not hold the weights"):
        FidelityExtractor(name).load()


def test_dinov2_needs_its_code_and_all_its_weights(hub, monkeypatch):
    file = put("dinov2-vit-s-14", hub, monkeypatch)
    torch.save({"0.weight": torch.zeros(6, 3, 14, 14)}, file)
    with pytest.raises(UserError, match="damaged or does not hold"):
        FidelityExtractor("dinov2-vit-s-14").load()
    file.write_bytes(b"torn")
    with pytest.raises(UserError, match="damaged or does not hold"):
        FidelityExtractor("dinov2-vit-s-14").load()
    (hub / fidelity.DINOV2_CODE / "hubconf.py").unlink()
    (hub / fidelity.DINOV2_CODE).rmdir()
    for download, cause in ((True, "no route to host"), (False, "is not there")):
        with pytest.raises(UserError, match=f"DINOv2's code and it .*{cause}"):
            FidelityExtractor("dinov2-vit-s-14", download=download).check()


def test_a_download_is_asked_for_once_and_with_its_hash(hub, monkeypatch):
    content = put("vgg16", hub, monkeypatch).read_bytes()
    asked = []

    def download(url, file, digest, progress):
        asked.append((url, digest))
        Path(file).write_bytes(content)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    extractor = FidelityExtractor("vgg16")
    (hub / "checkpoints" / extractor.published.file_name).unlink()
    extractor.check()
    extractor.load()
    assert asked == [(extractor.published.url, extractor.published.sha256)]


def test_published_weights_are_those_of_torch_fidelity():
    vgg = FidelityExtractor("vgg16").published
    assert (vgg.file_name, vgg.sha256) == ("vgg16-397923af.pth", "397923af")
    vit = FidelityExtractor("clip-vit-b-32").published
    assert vit.url == clip.MODEL_URLS["clip-vit-b-32"] and len(vit.sha256) == 64
    dinov2 = FidelityExtractor("dinov2-vit-l-14").published
    assert dinov2.url.endswith("/dinov2_vitl14/dinov2_vitl14_pretrain.pth")


def test_unknown_layers():
    with pytest.raises(UserError, match="no layer 'fc9': choose of fc2, fc2_relu"):
        FidelityExtractor("vgg16", "fc9")


# By name -----------------------------------------------------------------------------------------


def test_every_name_makes_its_extractor():
    own = {"raw", "avatar-classifier", "random-features", "classifier", "data-classifier"}
    assert set(names()) == {*FEATURE_EXTRACTORS_REGISTRY, *own}
    for name in set(names()) - {"classifier", "data-classifier"}:  # named after their data
        assert extractor_named(name).name == name
    for trained in (extractor_named("some/where.pt"), extractor_named("classifier", "some/where")):
        assert isinstance(trained, TrainedClassifier)
    kinds = {"raw": RawValues, "avatar-classifier": AvatarClassifier, "vgg16": FidelityExtractor}
    kinds |= {"inception-v3-compat": InceptionV3Compat}
    for name, kind in kinds.items():
        assert isinstance(extractor_named(name), kind)
    chosen = extractor_named("clip-rn50", weights="here.pt", download=False)
    assert (chosen.weights, chosen.download) == ("here.pt", False)
    inception = extractor_named("inception-v3-compat", weights="here.pth", download=False)
    assert (inception.weights, inception.download) == ("here.pth", False)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("inception", "inception-v3-compat"),
        ("vgg", "vgg16"),
        ("dinov2", "dinov2-vit-s-14"),
        ("clip-vit-b32", "clip-vit-b-32"),
        ("avatars-classifier", "avatar-classifier"),
    ],
)
def test_unknown_names_get_the_nearest_and_all_choices(name, nearest):
    with pytest.raises(UserError) as caught:
        extractor_named(name)
    message = str(caught.value)
    assert f"no extractor '{name}'; did you mean '{nearest}'?" in message
    assert all(choice in message for choice in names())


def test_weights_where_none_are_taken():
    for name in ("raw", "avatar-classifier", "some/where.pt"):
        with pytest.raises(UserError, match="takes no weights"):
            extractor_named(name, weights="x.pth")
    with pytest.raises(UserError, match="classifier needs its file"):
        extractor_named("classifier")


# Any network -------------------------------------------------------------------------------------


class Means(nn.Module):
    """Means of each channel, and logits if wanted."""

    def __init__(self, logits=False):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.drop = nn.Dropout(0.5)
        self.logits = logits

    def forward(self, x):
        means = self.drop(x.mean((2, 3), keepdim=True) * self.scale.view(-1, 1, 1))
        return (means, means.flatten(1)[:, :2]) if self.logits else means


def test_a_network_sees_what_is_said():
    pixels = images()
    plain = NetworkExtractor(Means(), "means")
    plain.load()
    expected = pixels.float().mean((2, 3)) / 255
    assert plain.score_name("KID") == "KD/means"
    torch.testing.assert_close(plain(pixels).features, expected)
    assert plain(pixels).logits is None and not plain.gives_logits()
    scaled = NetworkExtractor(
        Means(), "means", value_range=(-1, 1), mean=(0.1, 0.2, 0.3), std=(1, 2, 4)
    )
    scaled.load()
    shift, scale = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, 4.0])
    torch.testing.assert_close(scaled(pixels).features, (2 * expected - 1 - shift) / scale)
    assert scaled.resize == "none, to [-1, 1], minus (0.1, 0.2, 0.3), over (1, 2, 4)"
    assert scaled.weights_hash == plain.weights_hash == hash_of_weights(Means())
    assert not any(p.requires_grad for p in plain.parameters())


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_a_network_gets_images_of_its_size(interpolation):
    extractor = NetworkExtractor(nn.Identity(), "pixels", size=8, interpolation=interpolation)
    assert extractor.resize == f"{interpolation} 8 x 8 with antialiasing, to [0, 1]"
    pixels = images(size=32) // 255 * 255  # black and white: a cubic would leave the range
    features = extractor(pixels).features.view(3, 3, 8, 8)
    mode = getattr(torchvision.transforms.InterpolationMode, interpolation.upper())
    expected = torchvision.transforms.functional.resize(
        pixels.float() / 255, [8, 8], mode, antialias=True
    )
    torch.testing.assert_close(features, expected.clamp(0, 1))
    with pytest.raises(UserError, match="nearest is none of"):
        NetworkExtractor(nn.Identity(), "pixels", size=8, interpolation="nearest")


def test_grey_images_get_three_channels_unless_told():
    grey = images(channels=1)
    assert NetworkExtractor(nn.Identity(), "pixels")(grey).features.shape == (3, 3 * 32 * 32)
    kept = NetworkExtractor(nn.Identity(), "pixels", rgb=False)
    assert kept(grey).features.shape == (3, 32 * 32)


def test_a_network_may_give_logits():
    extractor = NetworkExtractor(Means(logits=True), "means", logits=True)
    assert extractor.gives_logits()
    extractor.load()
    features, logits = extractor(images())
    assert features.shape == (3, 3) and torch.equal(logits, features[:, :2])


class Gives(nn.Module):
    def __init__(self, given):
        super().__init__()
        self.given = given

    def forward(self, x):
        return self.given


@pytest.mark.parametrize(
    ("given", "logits", "words"),
    [
        (torch.zeros(2, 5), False, "features .* gives a tensor of shape (2, 5)"),
        ((torch.zeros(3, 5), torch.zeros(3, 2)), False, "gives 2 values"),
        (torch.zeros(3, 5), True, "pair of features and logits"),
        ({"features": 1}, False, "gives a dict"),
    ],
)
def test_a_network_that_gives_something_else(given, logits, words):
    extractor = NetworkExtractor(Gives(given), "odd", logits=logits)
    with pytest.raises(UserError, match=words.replace("(", r"\(").replace(")", r"\)")):
        extractor(images())


def test_a_network_by_target():
    settings = {
        "_target_": "saddlepoint.extractors.network.NetworkExtractor",
        "name": "linear",
        "size": 4,
        "network": {
            "_target_": "torch.nn.Sequential",
            "_args_": [
                {"_target_": "torch.nn.Flatten"},
                {"_target_": "torch.nn.Linear", "in_features": 48, "out_features": 7},
            ],
        },
    }
    extractor = instantiate(settings, _convert_="all")
    extractor.load()
    features = extractor(images()).features
    assert features.shape == (3, 7)
    with torch.autocast("cpu", torch.bfloat16):  # whatever training runs in
        assert torch.equal(extractor(images(0)).features, torch.zeros(0, 7))
        assert extractor(images()).features.dtype == torch.float32
    with pytest.raises(UserError, match="network of it is a str"):
        NetworkExtractor("resnet18", "it")
