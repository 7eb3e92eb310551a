"""Wrong settings of every kind: each is refused in one sentence before anything is written."""

import copy
import functools
import math
import random

import pytest
import torch
from omegaconf import OmegaConf
from play import spec_of
from train_cli import command, composed

from saddlepoint.errors import UserError
from saddlepoint.gans.networks.lite import LiteDiscriminator
from saddlepoint.losses.rotation import Rotation
from saddlepoint.losses.schedule import Piecewise
from saddlepoint.losses.term import Terms
from saddlepoint.runs import build
from saddlepoint.runs.build import build_game
from saddlepoint.runs.command_line import nearest_settings, user_sentence
from saddlepoint.runs.help import ABSENT, topics
from saddlepoint.runs.settings import COMMANDS, problems
from saddlepoint.schema import Count, Node, Setting, in_words, meanings_in, settings_of

SEED = 777
COMPOSITIONS = {
    "faces": ("train", ["trainer=cpu"]),
    "points": ("train", ["datamodule=gaussians8", "network=mlp", "trainer=cpu"]),
    "auto-encoder": ("train", ["gan=aae", "trainer=cpu"]),
    "terms, conditions": (
        "train",
        ["gan=cgan_pd", "terms=[dag,infomax,multi_class,r1]", "datamodule=cifar10", "trainer=cpu"],
    ),
    "critic, protocols": (
        "train",
        ["gan=wgan_gp", "datamodule=folder", "monitor=quick", "protocol=mimicry_50k"],
    ),
    "evaluate": ("evaluate", ["protocol=fid10k", "datamodule=stacked_mnist", "data_dir=data"]),
    "sample": ("sample", []),
    "export": ("export", []),
    "extractor": ("train_extractor", []),
}
#: What no setting of the kind of value can be, whatever its meaning.
NEVER = {
    bool: ["sometimes", 2, 0.5, [True], math.nan, "", 10**30],
    int: ["abc", 1.5, [1], math.nan, math.inf, -(10**30), 10**30, {"a": 1}, -1000],
    float: ["abc", [1.0], math.nan, math.inf, -math.inf, {"a": 1}, True],
    str: [["a"], {"a": "b"}, 2.5, math.nan, True],
    list: ["abc", 7, math.nan, {"a": 1}, [["a"]], [{"a": 1}]],
    dict: ["abc", 7, math.nan, [1, 2], True],
}
#: What some settings may be.
MAYBE = [None, 0, 1, -1, 2, "auto", "", [], {}, 1e-30, 1e30, 10**12, True, "32", [0.5, 0.9], [2, 3]]
#: Counted from the end where negative, or all of them; a device may be named, or all meant.
EXCEPT = {"trainer.devices", "monitor.extractor", "protocol.extractor"}


@functools.cache
def cases():
    """All settings of all compositions."""
    found = []
    for name, (config_name, words) in COMPOSITIONS.items():
        config = composed(words, config_name)
        plain = OmegaConf.to_container(config, resolve=True)
        for topic in topics(plain, COMMANDS[config_name]):
            if topic.value is not ABSENT and topic.name not in EXCEPT:
                found.append((name, config_name, plain, topic))
    return found


def put(plain, name, value):
    """The settings with one changed."""
    changed = copy.deepcopy(plain)
    *path, last = name.split(".")
    node = changed
    for key in path:
        node = node[key]
    node[last] = value
    return OmegaConf.create(changed, flags={"allow_objects": True})


def test_no_setting_takes_what_it_cannot_be():
    draw = random.Random(SEED)
    tried, taken = 0, []
    for name, command_name, plain, topic in cases():
        kind = type(topic.value)
        words = topic.setting.words
        never = [
            value
            for value in NEVER.get(kind, [])
            if not (value == 1.5 and "a number" in words)
            and not (value is True and "true or false" in words)
        ]
        for value in draw.sample(never, min(2, len(never))):
            found = list(problems(put(plain, topic.name, value), command_name))
            tried += 1
            if not found:
                taken.append(f"{name}: {topic.name}={value!r}")
            assert all("\n" not in sentence and len(sentence) < 700 for sentence in found)
    print(f"tried {tried}, held {tried - len(taken)}")
    assert not taken
    assert tried > 500


def test_what_is_taken_builds_or_is_refused_in_a_sentence():
    draw = random.Random(SEED)
    tried = built = 0
    everything = [c for c in cases() if c[0] in ("faces", "points", "auto-encoder")]
    inside = [c for c in everything if c[3].name.split(".")[0] in ("gan", "network", "batch_size")]
    for name, command_name, plain, topic in draw.sample(inside, 60):
        for value in draw.sample(MAYBE, 8):
            config = put(plain, topic.name, value)
            tried += 1
            if list(problems(config, command_name)):
                continue
            built += 1
            shape = (2,) if name == "points" else (3, 32, 32)
            try:
                build_game(config, spec_of(shape, 4))
            except Exception as error:
                assert user_sentence(error) is not None, f"{topic.name}={value!r}: {error!r}"
    print(f"tried {tried}, of which {built} were taken and built or refused")


@pytest.mark.parametrize(
    "word",
    [
        *("iterations=abc", "gan.n_dis=0", "gan.n_dis=-1", "gan.log_every=0", "seed=[0,1]"),
        *("gan.generator_optimizer.lr=nan", "gan.generator_optimizer.betas=[2,3]", "keep_best=-1"),
        *("gan.precision=16", "gan.latent_prior=cauchy", "gan.channels_last=sometimes"),
        *("network.generator.width=0", "network.generator.latent_dim=0", "trainer=gpu"),
        *("datamodule.num_workers=-1", "batch_size=1000000000000", "trainer.accelerator=abacus"),
        *("terms=[multi_class,multi_class_match]", "terms=[rotaton]", "gan._target_=os.nothing"),
        *("output_dir=[a]", "ckpt=[a]", "sample_every=null", "gan.n_dis={a:1}", "run_name={}"),
    ],
)
def test_a_wrong_setting_ends_in_one_sentence_and_writes_nothing(
    word, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert command([word]) == 2
    output, errors = capfd.readouterr()
    assert output == ""
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_weights_that_would_be_maximised_are_refused_and_others_are_not():
    draw, tried, held = random.Random(SEED), 0, 0
    for _ in range(40):
        points = [[t, draw.uniform(-1, 2)] for t in sorted(draw.random() for _ in range(3))]
        number = draw.uniform(-1, 1)
        weight = draw.choice([number, Piecewise(points)])
        negative = number < 0 if weight is number else min(value for _, value in points) < -0.1
        positive = number > 0 if weight is number else min(value for _, value in points) > 0
        name = draw.choice(["discriminator_weight", "generator_weight"])
        term = Rotation()
        setattr(term, name, weight)
        tried += 1
        try:
            Terms({"mine": term}, LiteDiscriminator(shape=(3, 32, 32), width=8))
            held += not negative
        except UserError as error:
            held += not positive and f"terms.mine.{name} is -" in str(error)
    print(f"weights of terms: {tried} tried, {held} held")
    assert held == tried


@pytest.mark.parametrize("network", ["lite", "resnet", "dcgan", "mlp"])
def test_networks_larger_than_the_machine_are_refused_before_they_are_made(network, monkeypatch):
    config = composed([f"network={network}", "trainer=cpu"])
    known = {"shape": (3, 32, 32), "condition": None}
    networks = [build._made(node)(**build._asked(node, known)) for node in config.network.values()]
    count = sum(p.numel() for each in networks for p in each.parameters())
    before = torch.get_rng_state()
    build._refuse_oversized_networks(config, known)
    assert torch.equal(torch.get_rng_state(), before)
    monkeypatch.setattr(build, "_memory", lambda: 4 * count - 1)  # bytes of the weights alone
    with pytest.raises(UserError, match=rf"{count:,} parameters, which take .* of network\.\w+\.$"):
        build._refuse_oversized_networks(config, known)


def test_terms_of_one_name_are_refused_where_a_yaml_names_them(tmp_path, capfd):
    (tmp_path / "experiment").mkdir()
    twice = (
        "# @package _global_\ndefaults:\n  - override /terms: [multi_class, multi_class_match]\n"
    )
    (tmp_path / "experiment" / "twice.yaml").write_text(twice)
    (tmp_path / "experiment" / "garbled.yaml").write_text("seed: 1\nseed: 2\n")
    words = [f"hydra.searchpath=[file://{tmp_path}]", f"output_dir={tmp_path}/out"]
    assert command([*words, "experiment=twice"]) == 2
    assert "multi_class and multi_class_match are both called" in capfd.readouterr().err
    assert command([*words, "experiment=garbled"]) == 2
    assert "duplicate key seed" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_default_settings_of_all_compositions_are_taken():
    for config_name, words in COMPOSITIONS.values():
        assert list(problems(composed(words, config_name), config_name)) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lr", "gan.generator_optimizer.lr"),
        ("learning_rate", "gan.generator_optimizer.lr"),
        ("gan.lr", "gan.generator_optimizer.lr"),
        ("n_dis", "gan.n_dis"),
        ("batchsize", "batch_size"),
        ("qwertzuiop", None),
    ],
)
def test_the_nearest_right_spelling(name, meant):
    known = ["batch_size", "gan", "gan.n_dis", "gan.seed", "seed"]
    known += [f"gan.{player}_optimizer.lr" for player in ("discriminator", "generator")]
    assert next(iter(nearest_settings(name, known)), None) == meant


def test_help_of_a_setting_and_of_a_group(capsys):
    assert command(["--help", "gan.n_dis", "gan=ssgan", "gan.n_dis=3"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("gan.n_dis: 3\n  discriminator updates per iteration")
    assert "a whole number of at least 1" in output and "default 5" in output
    assert command(["gan.generator_optimizer", "--help"]) == 0
    assert "gan.generator_optimizer.lr: 0.002\n  learning rate" in capsys.readouterr().out
    assert command(["--help", "gan.n_diss"]) == 2
    assert "did you mean 'gan.n_dis'?" in capsys.readouterr().err


def test_every_setting_of_the_project_has_a_meaning():
    for name, _, _, topic in cases():
        if not topic.name.startswith("trainer") and "optimizer" not in topic.name:
            assert topic.setting.meaning, f"{name}: {topic.name}"


def test_types_in_words():
    assert in_words(Count | None) == "a whole number of at least 1 or null"
    assert in_words(Node) == "a mapping with a _target_"
    assert Setting(list[int], None, "").words == "a list, each a whole number"
    assert meanings_in("X.\n\nArgs:\n    lr (float, optional): the rate\n        of it.") == {
        "lr": "the rate of it."
    }
    assert settings_of(COMMANDS["train_extractor"])["width"].meaning
