"""Generators taken away: equal bit for bit, as programs, with a card, and without trust."""

import json
import pkgutil
import sys
import types

import numpy as np
import pytest
import torch
import torch_fidelity
import yaml
from play import spec_of
from safetensors import safe_open
from torch.nn.utils import parametrize
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from train_cli import QUICK, composed, train_here

import saddlepoint
from saddlepoint.errors import UserError
from saddlepoint.exports import programs
from saddlepoint.exports.command import export
from saddlepoint.exports.generator import TrainedGenerator
from saddlepoint.gans import ATIGAN
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.lite import LiteGenerator
from saddlepoint.gans.tasks import FromLatents
from saddlepoint.runs.build import network_of
from saddlepoint.runs.pictures import to_uint8
from saddlepoint.runs.trained_run import TrainedRun

SCORED = ["monitor=quick", "monitor.num_real=64", "monitor.num_fake=64", "score_every=1000"]
RUNS = {
    "raw": ["gan=sngan", "network=lite", *SCORED],
    "ema": ["gan=sngan", "network=lite", "gan.ema_half_life_kimg=1"],
    "classes": ["gan=cgan_pd", "network=lite", "condition.frequencies=data"],
    "points": ["experiment=toy_gaussians8", "gan=dist_gan"],
    "edits": ["experiment=edit_faces"],
}
EXPORTED = [name for name in RUNS if name != "edits"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    for name, words in RUNS.items():
        quick = [w for w in QUICK if "monitor" not in w or "monitor=quick" not in words]
        here = [f"output_dir={folder}", f"run_name={name}", "iterations=2"]
        train_here([*quick, *words, *here])
    return folder


def exported(outputs, name, folder, *words):
    words = [f"run={outputs / name}", f"output={folder}", "images=8", *words]
    return export(composed(words, "export"))


@pytest.fixture(scope="module")
def folders(outputs, tmp_path_factory):
    """Exported folders by name, with TorchScript."""
    place = tmp_path_factory.mktemp("exports")
    return {n: exported(outputs, n, place / n, "formats=[torchscript]") for n in EXPORTED}


def game_of(outputs, name):
    return TrainedRun.find(outputs / name, outputs).game()


# Loading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPORTED)
def test_samples_are_the_run_s_bit_for_bit(name, outputs, folders):
    game = game_of(outputs, name)
    state = torch.get_rng_state()
    loaded = [saddlepoint.load(outputs / name), saddlepoint.load(folders[name])]
    assert torch.equal(torch.get_rng_state(), state)  # whoever loads draws on undisturbed
    for generator in loaded:
        expected = game.sample(game.inputs_at(range(5, 12), seed=3))
        assert torch.equal(generator.sample(7, seed=3, start=5), expected)
        assert torch.equal(generator.sample(2), game.sample(game.inputs_at(range(2))))
        assert generator.about["iteration"] == 2
        assert str(generator).startswith("<TrainedGenerator ") and "2 iterations" in str(generator)


def test_more_samples_begin_with_the_same(folders):
    generator = saddlepoint.load(folders["raw"])
    torch.testing.assert_close(generator.sample(260)[:3], generator.sample(3))


def test_classes_are_asked_for_by_name_or_number(outputs, folders):
    generator, game = saddlepoint.load(folders["classes"]), game_of(outputs, "classes")
    assert generator.classes[:2] == ("black_hair", "brown_hair")
    inputs = game.inputs_at(range(3)).but(condition=torch.tensor([1, 0, 1]))
    expected = game.sample(inputs)
    assert torch.equal(generator.sample(3, classes=["brown_hair", 0, 1]), expected)
    # What is drawn by itself has the frequencies of the data, which were saved too.
    assert torch.equal(generator.task.condition.shares, game.condition.shares)
    for wrong, sentence in (("green_hair", "no class green_hair"), ([0, 1], "2 classes for 3")):
        with pytest.raises(UserError, match=sentence):
            generator.sample(3, classes=wrong)
    with pytest.raises(UserError, match="is not asked for classes"):
        saddlepoint.load(folders["raw"]).sample(3, classes=0)


def test_pictures(folders):
    generator = saddlepoint.load(folders["raw"])
    images = generator.images(3, seed=1)
    pixels = to_uint8(generator.sample(3, seed=1)).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(np.stack([np.array(image) for image in images]), pixels)
    assert generator.grid(9).width > 3 * 64
    assert saddlepoint.load(folders["points"]).grid(9).width == 500


def test_what_is_fed_images_is_loaded_from_its_run_and_not_exported(outputs, tmp_path):
    game, run = game_of(outputs, "edits"), TrainedRun.find(outputs / "edits", outputs)
    expected = game.sample(game.inputs_at(range(3), 0, run.data()))
    assert torch.equal(saddlepoint.load(outputs / "edits").sample(3, seed=0), expected)
    with pytest.raises(UserError, match="is fed images"):
        exported(outputs, "edits", tmp_path / "export")
    assert not list(tmp_path.iterdir())


def test_a_generator_that_its_game_trains_first_is_refused(outputs, monkeypatch):
    monkeypatch.setattr(ATIGAN, "sample", lambda self, inputs: None, raising=False)
    with pytest.raises(UserError, match="trained on examples before it draws"):
        saddlepoint.load(outputs / "edits")


# Programs -----------------------------------------------------------------------------------------


def asked(game, n):
    inputs = game.inputs_at(range(n), seed=7)
    return [inputs[name] for name in ("latents", "condition") if name in inputs]


@pytest.mark.parametrize("name", EXPORTED)
def test_torchscript_draws_the_same(name, outputs, folders):
    game = game_of(outputs, name)
    game.precision = "32"
    latents, *condition = asked(game, 5)
    expected = game.sample(game.inputs_at(range(5), seed=7))
    program = torch.jit.load(folders[name] / "generator.pth")
    if name == "points":  # latents from U(-1, 1) there and here
        torch.testing.assert_close(program(latents), expected, rtol=1e-4, atol=1e-5)
        return
    found = program(latents, *condition)
    assert found.dtype == torch.uint8
    assert (found.int() - to_uint8(expected).int()).abs().max() <= 1


@pytest.mark.parametrize("name", ["ema", "classes", "points"])
@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_other_programs_draw_the_same(kind, name, outputs, tmp_path):
    for package in programs.KINDS[kind].needs:
        pytest.importorskip(package)
    folder = exported(outputs, name, tmp_path / "export", f"formats=[{kind}]")
    game = game_of(outputs, name)
    game.precision = "32"
    given = asked(game, 5)  # another number than it was traced with
    found = programs.KINDS[kind].run((folder / programs.KINDS[kind].file).read_bytes(), given)
    expected = game.sample(game.inputs_at(range(5), seed=7))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


class Means(FeatureExtractorBase):
    """Features that take no time: means of a few parts of an image."""

    def __init__(self, name, features_list, **settings):
        super().__init__(name, features_list)

    def forward(self, images):
        assert images.dtype == torch.uint8 and images.shape[1] == 3
        return (torch.nn.functional.adaptive_avg_pool2d(images.float(), 2).flatten(1),)

    @staticmethod
    def get_provided_features_list():
        return ("means",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "means"

    @staticmethod
    def can_be_compiled():
        return False


@pytest.mark.parametrize("name", ["raw", "classes"])
def test_torch_fidelity_scores_the_program(name, outputs, folders, monkeypatch, tmp_path):
    registry = "torch_fidelity.registry.FEATURE_EXTRACTORS_REGISTRY"
    monkeypatch.setitem(pkgutil.resolve_name(registry), f"means-{name}", Means)
    monkeypatch.setattr(np, "int", int, raising=False)  # which it still asks NumPy for
    generator = saddlepoint.load(folders[name])
    for k, image in enumerate(generator.images(64)):
        image.save(tmp_path / f"{k}.png")
    said = (folders[name] / "README.md").read_text()
    assert f"--input1-model-z-size {generator.network.latent_dim}" in said
    found = torch_fidelity.calculate_metrics(
        input1=str(folders[name] / "generator.pth"),
        input1_model_z_size=generator.network.latent_dim,
        input1_model_z_type="normal",
        input1_model_num_classes=len(generator.classes),
        input1_model_num_samples=512,
        input2=str(tmp_path),
        feature_extractor=f"means-{name}",
        fid=True,
        cuda=False,
        verbose=False,
        save_cpu_ram=True,
        cache=False,
    )
    # 64 and 512 samples of one generator are near each other, in units of a grey level squared.
    spread = (
        torch.cat([Means("", ["means"])(to_uint8(generator.sample(64)))[0]]).var(0).sum().item()
    )
    assert 0 <= found["frechet_inception_distance"] < 0.5 * spread + 1


def test_uniform_latents_are_torch_fidelity_s_uniform_noise(tmp_path):
    network = LiteGenerator(shape=(1, 16, 16), width=8, latent_dim=4)
    generator = TrainedGenerator(network, FromLatents(4, "uniform"), precision="32")
    (tmp_path / "generator.pth").write_bytes(programs.program(generator, "torchscript"))
    noise = torch.rand(6, 4)
    found = torch.jit.load(tmp_path / "generator.pth")(noise)
    inputs = generator.inputs(range(6)).but(latents=noise * 2 - 1)
    expected = to_uint8(generator.draw(inputs)).expand(-1, 3, -1, -1)  # grey is shown as colour
    assert (found.int() - expected.int()).abs().max() <= 1


def test_spectral_norms_are_applied_and_the_original_keeps_its_own():
    network = composed(["gan=sagan", "network.generator.width=4"]).network.generator
    spec, classes = spec_of((3, 32, 32), num_classes=3), Classes(3)
    generator = TrainedGenerator(
        network_of(network, spec, classes), FromLatents(128, "normal", classes)
    )
    before = generator.sample(3)
    assert any(map(parametrize.is_parametrized, generator.network.modules()))
    assert len(programs.program(generator, "pt2")) > 1000  # it is compared with the generator
    assert not any(map(parametrize.is_parametrized, generator.plain_network().modules()))
    assert torch.equal(generator.sample(3), before)
    assert any(map(parametrize.is_parametrized, generator.network.modules()))


def test_what_is_missing_or_off_is_named_before_anything_is_written(
    outputs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package onnx, which is not here: pip install"):
        exported(outputs, "raw", tmp_path / "export", "formats=[onnx]")
    kind = programs.KINDS["torchscript"]
    monkeypatch.setattr(kind, "run", lambda written, inputs: torch.zeros(3, 3, 32, 32).byte())
    with pytest.raises(UserError, match="draws something else"):
        exported(outputs, "raw", tmp_path / "export", "formats=[torchscript]")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(kind, "run", programs._run_torchscript)
    exported(outputs, "raw", tmp_path / "export")
    assert "without onnx, which needs onnx" in capsys.readouterr().out


# The folder ---------------------------------------------------------------------------------------


def test_what_is_in_the_folder(folders):
    names = {path.name for path in folders["raw"].iterdir()}
    expected = {"README.md", "config.json", "model.safetensors", "samples.png", "generator.pth"}
    assert names == expected
    with safe_open(folders["raw"] / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert all(key.startswith("generator.") for key in file.keys())  # noqa: SIM118


def test_an_earlier_export_is_replaced_and_other_folders_are_not(outputs, tmp_path):
    folder = exported(outputs, "raw", tmp_path / "export", "formats=[]")
    (folder / "config.json").write_text("{}")
    exported(outputs, "raw", folder, "formats=[]")
    assert saddlepoint.load(folder).about["method"] == "sngan"
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="no earlier export"):
        exported(outputs, "raw", tmp_path / "mine", "formats=[]")
    assert {path.name for path in tmp_path.iterdir()} == {"export", "mine"}


def changed(folders, tmp_path, **settings):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folders["raw"] / name).read_bytes())
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, **settings}))
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"network": {"_target_": "os.system", "command": "touch pwned"}}, "wants to call os.sys"),
        ({"condition": {"_target_": "subprocess.call", "args": ["ls"]}}, "wants to call subproc"),
        ({"network": {"_target_": "my_package.Network"}}, r"trust=\[my_package\]"),
        ({"network": "saddlepoint"}, "is damaged"),
        (
            {"network": {"_target_": "saddlepoint.gans.networks.lite.LiteGenerator", "width": 8}},
            "is",
        ),
        ({"data": None}, "is damaged"),
        ({"sha256": "0"}, "is damaged"),
        ({"prior": "cauchy"}, "no prior 'cauchy'"),
        ({"version": 2}, "has format 2 and this version reads 1"),
        ({"format": "other"}, "is not of an exported generator"),
    ],
)
def test_a_file_is_not_trusted(settings, sentence, folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = changed(folders, tmp_path, **settings)
    with pytest.raises(UserError, match=sentence):
        saddlepoint.load(folder)
    assert not (tmp_path / "pwned").exists()


def test_a_flipped_bit_is_noticed(folders, tmp_path):
    folder = changed(folders, tmp_path)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(UserError, match="is damaged"):
        saddlepoint.load(folder)


# The card and the hub -----------------------------------------------------------------------------


def test_the_card_says_what_it_is(outputs, folders):
    text = (folders["raw"] / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    head = yaml.safe_load(head)
    assert head["library_name"] == "saddlepoint"
    assert head["pipeline_tag"] == "unconditional-image-generation"
    assert head["tags"] == ["gan", "saddlepoint", "sngan", "avatars"]
    (model,) = head["model-index"]
    game = game_of(outputs, "raw")
    record = TrainedRun.find(outputs / "raw", outputs).records.read_text().splitlines()[-1]
    scores = json.loads(record)["scores"]
    (result,) = model["results"]
    for metric in result["metrics"]:
        assert metric["value"] == scores[metric["name"]]
        assert f"| {metric['name']} | {metric['value']:.5g} |" in body
    assert result["metrics"] and result["dataset"]["name"] == "avatars"
    for words in ("64 generated against 64 real", "arXiv 1802.05957", "samples.png", "@software"):
        assert words in body
    assert f"{sum(p.numel() for p in game.generator.parameters()):,} parameters" in body


@pytest.mark.parametrize("name", EXPORTED)
def test_the_hub_s_own_library_reads_the_card(name, folders):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(folders[name] / "README.md")
    assert card.data.library_name == "saddlepoint"
    results = card.data.eval_results or []
    assert bool(results) == (name == "raw")
    assert all(isinstance(result.metric_value, float) for result in results)
    again = hub.ModelCardData(**card.data.to_dict(), ignore_metadata_errors=False)
    assert again.to_dict() == card.data.to_dict()


def test_from_the_hub(folders, monkeypatch):
    def snapshot_download(repository, revision, allow_patterns):
        if repository != "me/faces":
            raise ValueError("404 Client Error")
        assert revision == "v1" and allow_patterns == ["config.json", "model.safetensors"]
        return str(folders["raw"])

    fake = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    generator = saddlepoint.load("hf://me/faces@v1")
    assert torch.equal(generator.sample(2), saddlepoint.load(folders["raw"]).sample(2))
    with pytest.raises(UserError, match="cannot be had"):
        saddlepoint.load("hf://me/nothing")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="needs huggingface_hub"):
        saddlepoint.load("hf://me/faces")
