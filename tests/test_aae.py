"""The adversarial auto-encoder: three losses, three players, and what it shows of the data."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from play import Blocks, changed, play, snapshot, spec_of
from torch import nn
from train_cli import composed

from saddlepoint.gans import AAE
from saddlepoint.gans.networks.lite import LiteEncoder, LiteGenerator
from saddlepoint.gans.networks.mlp import MLPDiscriminator
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import Hinge, Minimax
from saddlepoint.losses.term import Step
from saddlepoint.randomness import Draws
from saddlepoint.runs.build import build_game

SHAPE, CODE, N = (3, 16, 16), 6, 8
SMALL = {"iterations": 4, "batch_size": N, "precision": "32", "log_every": 1}


def game(method=AAE, networks_seed=0, **settings):
    torch.manual_seed(networks_seed)
    networks = (
        LiteEncoder(shape=SHAPE, latent_dim=CODE, width=8),
        LiteGenerator(shape=SHAPE, latent_dim=CODE, width=8),
        MLPDiscriminator(shape=(CODE,), width=8, depth=2),
    )
    return method(*networks, **{**SMALL, **settings})


def a_step():
    generator = torch.Generator().manual_seed(0)
    real = Items(image=torch.rand(N, *SHAPE, generator=generator) * 2 - 1)
    return Step(0, 1, Draws(0), Items(latents=torch.randn(N, CODE, generator=generator)), [real])


@pytest.fixture
def data():
    """Held-out images, and others that must not be shown."""
    images = torch.rand(5, *SHAPE) * 2 - 1
    held_out = SimpleNamespace(
        spec=spec_of(SHAPE, num_items=5), items_at=lambda indices: Items(image=images[indices])
    )
    return SimpleNamespace(held_out=held_out, images=images)


# Losses -----------------------------------------------------------------------------------------


def test_the_auto_encoder_rebuilds_its_reals():
    made, step = game(), a_step()
    reference = copy.deepcopy(made)
    losses = made.autoencoder_loss(step)
    rebuilt = reference.generator(reference.encoder(step.real.image))
    assert set(losses) == {"reconstruction"}
    expected = ((step.real.image - rebuilt) ** 2).sum() / (N * 3 * 16 * 16)
    torch.testing.assert_close(losses["reconstruction"], expected)
    losses["reconstruction"].backward()
    for name in ("encoder", "generator"):
        assert all(p.grad is not None for p in getattr(made, name).parameters()), name
    assert all(p.grad is None for p in made.discriminator.parameters())


def test_the_discriminator_tells_latents_from_codes():
    made, step = game(), a_step()
    reference = copy.deepcopy(made)
    losses = made.discriminator_loss(step)
    on_latents = reference.discriminator(step.inputs.latents).logits
    on_codes = reference.discriminator(reference.encoder(step.real.image)).logits
    expected = F.binary_cross_entropy_with_logits(on_latents, torch.ones(N, 1))
    expected = expected + F.binary_cross_entropy_with_logits(on_codes, torch.zeros(N, 1))
    torch.testing.assert_close(losses["adversarial"], expected)
    losses["adversarial"].backward()
    assert all(p.grad is not None for p in made.discriminator.parameters())
    for network in (made.encoder, made.generator):
        assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("adversarial", [Minimax(), Hinge()], ids=lambda loss: type(loss).__name__)
def test_the_encoder_makes_it_fail(adversarial):
    made, step = game(adversarial=adversarial, adversarial_weight=0.25), a_step()
    reference = copy.deepcopy(made)
    losses = made.encoder_loss(step)
    on_codes = reference.discriminator(reference.encoder(step.real.image)).logits
    expected = {
        Minimax: F.binary_cross_entropy_with_logits(on_codes, torch.ones(N, 1)),
        Hinge: -on_codes.mean(),
    }[type(adversarial)]
    torch.testing.assert_close(losses["adversarial"], 0.25 * expected)
    losses["adversarial"].backward()
    assert all(p.grad is not None for p in made.encoder.parameters())
    assert all(p.grad is None for p in made.generator.parameters())


# Players ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mover", "own"),
    [
        ("autoencoder", {"encoder", "generator"}),
        ("discriminator", {"discriminator"}),
        ("encoder", {"encoder"}),
    ],
)
def test_each_player_changes_only_its_networks(mover, own):
    still = lambda parameters: torch.optim.SGD(parameters, lr=0.0)  # noqa: E731
    players = ("autoencoder", "discriminator", "encoder")
    made = game(**{f"{player}_optimizer": still for player in players if player != mover})
    before = snapshot(made)
    play(made, stop=1)
    assert {name.split(".")[0] for name in changed(before, made)} == own


def test_an_iteration_takes_three_batches_of_reals_one_for_each_player():
    seen = []

    class Watcher(AAE):
        def update(self, player, step):
            seen.append((player.name, [real.image for real in step.reals], step.inputs.latents))
            super().update(player, step)

    made = game(Watcher)
    assert made.batches_per_iteration == 3
    block = next(iter(Blocks(made)))["reals"].image.split(N)
    play(made, stop=1)
    assert [name for name, *_ in seen] == ["autoencoder", "discriminator", "encoder"]
    for (_, reals, _), expected in zip(seen, block, strict=True):
        assert len(reals) == 1 and torch.equal(reals[0], expected)
    assert not torch.equal(seen[0][2], seen[1][2])
    assert set(made.last_losses) == {
        "autoencoder/reconstruction",
        "discriminator/adversarial",
        "encoder/adversarial",
    }


def test_kimg_counts_the_batches_of_the_discriminator_alone():
    played = play(game(), stop=3)
    assert played.kimg == 3 * N / 1000


def test_a_shared_network_has_an_optimiser_of_each_of_its_players():
    made = game()
    play(made, stop=1)
    parameters = {
        name: {p for group in optimizer.param_groups for p in group["params"]}
        for name, optimizer in made._optimizers.items()
    }
    assert parameters["encoder"] == set(made.encoder.parameters())
    assert parameters["autoencoder"] == {*made.encoder.parameters(), *made.generator.parameters()}


def test_it_goes_on_from_its_state_bit_for_bit():
    settings = {"ema_half_life_kimg": 0.05}
    straight = play(game(**settings))
    state = copy.deepcopy(play(game(**settings), stop=2).state())
    resumed = game(networks_seed=1, **settings)
    resumed.load_state(state)
    play(resumed)
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_it_learns_to_rebuild():
    adam = lambda parameters: torch.optim.Adam(parameters, lr=5e-3)  # noqa: E731
    optimizers = {f"{p}_optimizer": adam for p in ("autoencoder", "discriminator", "encoder")}
    made = game(iterations=60, adversarial_weight=0.01, **optimizers)
    play(made, stop=1)
    first = made.last_losses["autoencoder/reconstruction"]
    made = play(game(iterations=60, adversarial_weight=0.01, **optimizers))
    assert made.last_losses["autoencoder/reconstruction"] < 0.7 * first


# What it shows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ema", [0.0, 0.05])
def test_pictures_are_inputs_reconstructions_and_samples(ema, data):
    played = play(game(ema_half_life_kimg=ema), stop=2)
    training = played.encoder.training, played.generator.training
    pictures = played.pictures(range(7), data=data)
    assert list(pictures) == ["input", "reconstruction", "samples"]
    assert (played.encoder.training, played.generator.training) == training
    assert torch.equal(pictures["input"], data.images[torch.arange(7) % 5])
    encoder, decoder = played.sampled("encoder").eval(), played.sampled().eval()
    with torch.no_grad():
        torch.testing.assert_close(pictures["reconstruction"], decoder(encoder(pictures["input"])))
    assert torch.equal(pictures["samples"], played.sample(played.inputs_at(range(7))))
    assert list(played.pictures(range(3))) == ["samples"]
    assert not played.needs_data
    assert (played.sampled("encoder") is played.encoder) == (not ema)


def test_the_average_follows_encoder_and_generator():
    played = play(game(ema_half_life_kimg=0.05), stop=2)
    assert set(played.moving_average.networks) == {"encoder", "generator"}
    for name, average in played.moving_average.networks.items():
        assert isinstance(average, nn.Module)
        pairs = zip(average.parameters(), getattr(played, name).parameters(), strict=True)
        assert not all(torch.equal(a, b) for a, b in pairs)


def test_the_settings_make_it():
    small = [f"network.{name}.width=8" for name in ("encoder", "generator", "discriminator")]
    config = composed(
        ["gan=aae", *small, "network.generator.latent_dim=5", "gan.latent_prior=uniform"]
    )
    made = build_game(config, spec_of(SHAPE, 4))
    assert made.adversarial == Minimax() and made.adversarial_weight == 0.01
    assert made.encoder(torch.rand(2, *SHAPE)).shape == (2, 5)
    latents = made.inputs_at(range(500)).latents
    assert latents.shape == (500, 5)
    assert latents.min() < -0.9 and latents.abs().max() <= 1
