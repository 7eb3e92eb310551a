"""Every YAML composes; every method plays; every command line mistake gets one sentence."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from play import changed, networks_of, play, snapshot, spec_of
from train_cli import ROOT, command, composed, finish, start

from saddlepoint.errors import UserError
from saddlepoint.gans import Game
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.edits import Edits
from saddlepoint.losses.term import Term
from saddlepoint.runs.build import build_game

GROUPS = {
    folder.name: sorted(path.stem for path in folder.glob("*.yaml"))
    for folder in sorted((ROOT / "conf").iterdir())
    if folder.is_dir() and folder.name != "hydra"
}
#: Networks of games that are fed images.
EDITING = [name for name in GROUPS["network"] if name.startswith(("stargan", "ati_gan"))]
FEW_SHOT = [name for name in GROUPS["network"] if name.startswith(("funit", "reptile"))]
SIZES = {
    "resnet": 32,
    "resnet_critic": 32,
    "sagan": 32,
    "dcgan": 32,
    "lite": 16,
    "lite_patches": 16,
    "aae": 16,
    "lite_autoencoder": 16,
    "mlp": None,
    "mlp_autoencoder": None,
    "sncnn": 48,
    "dist_gan_sncnn": 48,
    "dist_gan_dcgan": 64,
    "dist_gan_mnist": 28,
    "dist_gan_stacked_mnist": 28,
    "dist_gan_resnet": 48,
    "resnet_gradnorm": 32,
}


def tiny(*overrides):
    """Compose a method with tiny networks and the shape of data they take."""
    config = composed([*overrides, "iterations=2", "batch_size=4", "gan.precision=32"])
    for network in config.network.values():
        network.width = 8
    target = config.network.generator._target_
    shape = (2,) if "mlp" in target else (3, *[16 if "lite" in target else 32] * 2)
    episodes = {"shots": (1, *shape), "target": ()}
    spec = spec_of(shape, 4, attributes=("smiling", "glasses"), boxes=(1, 4), **episodes)
    return config, build_game(config, replace(spec, regions={"face": ("smiling", "glasses")}))


@pytest.mark.parametrize(
    "choice", [f"{group}={name}" for group, names in GROUPS.items() for name in names]
)
def test_every_choice_composes(choice):
    group, name = choice.split("=")
    # Terms and scores stack: they are chosen into a place.
    places = {"terms": f"terms=[{name}]", "score": f"+score@protocol.scores.{name}={name}"}
    words = [places.get(group, choice)]
    if group == "preset":  # it is chosen by the names of both
        network, gan = name.split("-")
        words = [f"network={network}", f"gan={gan}"]
    config = composed(words)
    OmegaConf.to_container(config, resolve=True)
    assert config.iterations > 0
    if group == "datamodule":
        instantiate(config.datamodule, _convert_="all")


@pytest.mark.parametrize("name", GROUPS["gan"])
def test_every_method_plays_and_each_player_changes_its_own(name):
    config, game = tiny(f"gan={name}")
    assert isinstance(game, Game)
    play(game)
    assert game.iteration == 2
    for player in game.players():
        # Only this player moves: the others' optimisers stand still.
        _, game = tiny(f"gan={name}")
        made = game.configure_optimizers

        def configure(made=made, game=game, mover=player.name):
            optimizers = made()
            for other, optimizer in game._optimizers.items():
                if other != mover:
                    optimizer.step = lambda: None
            return optimizers

        game.configure_optimizers = configure
        before = snapshot(game)
        play(game, stop=1)
        moved = changed(before, game)
        assert moved, player.name
        networks = player.networks or (player.name,)
        own = tuple(f"{network}." for network in networks)
        followers = ("moving_average.",) if set(networks) & set(game.sampled_networks) else ()
        assert all(parameter.startswith((*own, *followers)) for parameter in moved), player.name


# latent_consistency needs conditions of a representation: tests/test_latent_conditioned.py
@pytest.mark.parametrize("name", [t for t in GROUPS["terms"] if t != "latent_consistency"])
def test_every_term_stacks_on_sngan(name):
    _, game = tiny("gan=sngan", "network=lite", f"terms=[{name}]")
    assert all(isinstance(term, Term) for term in game.terms.values())
    play(game)
    for term in game.terms:
        assert any(loss.endswith(f"/{term}") for loss in game.last_losses)


@pytest.mark.parametrize("name", EDITING)
@pytest.mark.parametrize("side", [32, 64])
def test_every_network_of_edits_fits_together(name, side):
    condition = Edits(3, 1, names=tuple("abc"))
    networks = networks_of(
        composed([f"network={name}"]).network, (3, side, side), condition, width=8
    )
    images, target = torch.rand(2, 3, side, side), torch.ones(2, 3)
    mask = [torch.ones(2, 1, side, side)] if name.startswith("ati_gan") else []
    edited = networks["generator"](images, target, *mask)
    assert edited.shape == images.shape
    critics = [network for key, network in networks.items() if "discriminator" in key]
    assert len(critics) == 1 + len(mask)
    for critic in critics:
        seen = critic(edited[..., : critic.window, : critic.window])
        assert seen.logits.shape[:2] == (2, 1)
        assert critic.shows(seen.pooled).shape == (2, 3)


@pytest.mark.parametrize("name", FEW_SHOT)
@pytest.mark.parametrize("side", [32, 64])
def test_every_few_shot_network_fits_together(name, side):
    networks = networks_of(
        composed([f"network={name}"]).network, (3, side, side), Classes(3), width=8
    )
    images = torch.rand(2, 3, side, side)
    shown = torch.ones(2, 1) if name == "reptile" else images.flip(0)[:, None]
    translated = networks["generator"](images, shown)
    assert translated.shape == images.shape
    critic = networks["discriminator"]
    asked = torch.tensor([0, 2]) if critic.is_conditional else None
    assert critic(translated, asked).logits.shape[:2] == (2, 1)


@pytest.mark.parametrize("name", sorted(set(GROUPS["network"]) - {*EDITING, *FEW_SHOT}))
def test_every_network_pair_fits_together(name):
    config = composed([f"network={name}"])
    size = SIZES[name]
    shape = (3, size, size) if size else (2,)
    for condition in (None, Classes(3)):
        networks = networks_of(config.network, shape, condition, width=16)
        labels = None if condition is None else torch.randint(3, (2,))
        latents = torch.randn(2, networks["generator"].latent_dim)
        images = networks["generator"](latents, labels)
        assert images.shape[1:] == shape
        codes = networks["encoder"](images) if "encoder" in networks else latents
        assert codes.shape == latents.shape
        judged = codes if "shape" in config.network.discriminator else images
        assert networks["discriminator"](judged, labels).logits.shape == (2, 1)


def test_a_conditional_method_needs_classes():
    config = composed(["gan=cgan_pd"])
    with pytest.raises(UserError, match="needs classes"):
        build_game(config, spec_of((3, 32, 32)))
    config = composed(["gan=cgan_pd", "condition=none"])
    with pytest.raises(UserError, match="needs a condition: set condition=classes"):
        build_game(config, spec_of((3, 32, 32), 4))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["gan=aae", "terms=[r1]"],
            r"gan=aae takes no terms: leave terms= out, or choose another gan\.$",
        ),
        (
            ["gan=aae", "condition=classes"],
            r"gan=aae takes no condition: leave condition= out, .* gan\.$",
        ),
        (["gan=sngan", "network=aae"], r"gan=sngan has no encoder, .* generator"),
    ],
)
def test_what_a_method_has_no_use_for_is_refused(overrides, sentence):
    with pytest.raises(UserError, match=sentence):
        build_game(composed(overrides), spec_of((3, 32, 32), 4))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["gann=sngan"], "'gann' is no setting; did you mean 'gan'?"),
        (["gan=sngn"], "'sngn' is no choice of gan; did you mean 'sngan'?"),
        (["iteratons=5"], "'iteratons' is no setting; did you mean 'iterations'?"),
        (["gan.n_diss=5"], "'gan.n_diss' is no setting; did you mean 'gan.n_dis'?"),
        (["iterations=0"], "iterations=0 is not to be had: give a whole number of at least 1"),
        (
            ["datamodule=cifar10", "data_dir=nowhere"],
            "saddlepoint download cifar10",
        ),
        (["gan=ssgan", "terms=[r1]"], "write 'terms=[rotation,r1]'"),
        (["ckpt=nowhere.ckpt"], "There is no checkpoint nowhere.ckpt"),
        (["network.generator.upsampling=cubic"], "upsampling"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(overrides, sentence, tmp_path, capfd):
    assert command([*overrides, f"output_dir={tmp_path}"]) == 2
    errors = capfd.readouterr().err
    assert sentence in errors
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert not list(tmp_path.iterdir())  # nothing half-written


def test_a_mistake_in_a_process_of_its_own(tmp_path):
    code, output, errors = finish(start(["iterations=0", f"output_dir={tmp_path}"]))
    assert (code, output) == (2, "")
    assert errors == (
        "error: iterations=0 is not to be had: give a whole number of at least 1 (generator"
        " updates).\n"
    )


def test_debug_shows_the_traceback_too(tmp_path, capfd):
    assert command(["iterations=0", "debug=true", f"output_dir={tmp_path}"]) == 2
    errors = capfd.readouterr().err
    assert "Traceback" in errors
    assert errors.splitlines()[-1].startswith("error: ")


def test_help_lists_every_group_and_choice(capfd):
    assert command(["--help"]) == 0
    output = capfd.readouterr().out
    for group, names in GROUPS.items():
        listed = re.search(rf"^{group}: (.*(?:\n    .*)*)$", output, re.MULTILINE)
        assert listed, group
        assert set(names) <= set(re.split(r",\s+", listed.group(1)))


def test_configuration_mentions_no_absolute_paths():
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert not re.search(
            r"(?<![\w.}])/(?:[a-z]+/)+[a-z]", path.read_text().replace("override /", "")
        ), path


def test_the_default_run_is_the_experiment_faces_and_a_gan_is_as_published():
    default = composed([])
    assert default == composed(["experiment=faces_by_class", "gan=r1_gan"])
    assert default == composed(["experiment=faces", "gan=r1_gan", "condition=auto"])
    assert not composed(["condition=none"]).condition
    assert (default.method, default.iterations, default.gan.n_dis) == ("r1_gan", 1200, 1)
    assert default.gan.generator_optimizer.lr == 2e-3
    assert default.terms.r1.every == 4 and not default.network.discriminator.spectral_norm
    for words in (["gan=sngan"], ["gan=sngan", "network=lite"]):
        config = composed(words)
        assert (config.iterations, config.gan.n_dis) == (100_000, 5)
        assert config.gan.generator_optimizer.lr == 2e-4
        assert "Lite" in config.network.generator._target_ or len(words) == 1
    other = composed(["experiment=faces", "gan=ssgan"])
    assert list(other.terms) == ["rotation"] and other.gan.n_dis == 1
    assert "Lite" in other.network.generator._target_
    points = composed(["datamodule=gaussians8", "network=mlp"])
    assert (points.iterations, points.gan.n_dis) == (1200, 1)
    for gan in ("dist_gan", "gn_gan"):
        assert "encoder" in composed(["experiment=faces", f"gan={gan}"]).network


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], []),
        (["logger=csv"], []),
        (["logger=wandb"], ["wandb"]),
        (["logger=[wandb,tensorboard]"], ["wandb", "tensorboard"]),
    ],
)
def test_loggers_come_one_by_one_or_as_a_list(words, names):
    assert list(composed(words).logger) == names


def test_experiments_are_as_published():
    table = {
        "cifar10": (5, 100_000, "linear"),
        "cifar100": (5, 100_000, "linear"),
        "imagenet32": (5, 100_000, "linear"),
        "stl10": (5, 100_000, "linear"),
        "celeba64": (5, 100_000, "linear"),
        "celeba128": (2, 100_000, "constant"),
        "lsun_bedroom": (2, 100_000, "linear"),
    }
    for name, settings in table.items():
        config = composed([f"experiment=mimicry_{name}", "gan=ssgan"])
        gan = config.gan
        assert (gan.n_dis, config.iterations, gan.lr_schedule) == settings, name
        assert config.batch_size == 64
        assert gan.generator_optimizer.lr == 2e-4
        assert list(gan.generator_optimizer.betas) == [0.0, 0.9]
        assert gan._target_ == "saddlepoint.gans.SSGAN"
        assert Path(config.datamodule._target_.split(".")[-1]).name
