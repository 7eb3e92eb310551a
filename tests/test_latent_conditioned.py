"""GANs on conditions that a representation gives: the game, its terms, clusters that move."""

import copy
import math

import pytest
import torch
from conditioned_faces import SHAPE, TRUST, game_on, networks, played_on
from few_faces import COUNT, FEW, FewFaces
from play import changed, snapshot
from train_cli import QUICK, composed, equal, train_here

from saddlepoint.datamodules.fields import Label
from saddlepoint.datamodules.relabelled import Joined
from saddlepoint.errors import UserError
from saddlepoint.extractors.extractor import Extractor, hash_of_weights
from saddlepoint.gans import CGANPD, SNGAN, LatentConditioned
from saddlepoint.gans.networks.conditions import Classes, MovingClasses, Vectors
from saddlepoint.items import Items
from saddlepoint.losses.latent_consistency import LatentConsistency
from saddlepoint.randomness import Draws, keyed_generator
from saddlepoint.runs import checkpoint_file
from saddlepoint.runs.build import build_game
from saddlepoint.runs.callbacks.reclustering import Reclustering
from saddlepoint.runs.trained_run import TrainedRun

# The game ---------------------------------------------------------------------------------------


def test_true_labels_as_clusters_are_the_supervised_gan_bit_for_bit(conditioned):
    plain = FewFaces()
    clusters = Joined(
        plain, label=Label(plain.source.label.values, [f"cluster {k}" for k in range(6)])
    )
    games = [
        played_on(data, game_on(data, kind))
        for data, kind in (
            (plain, CGANPD),
            (clusters, LatentConditioned),
            (conditioned("labels"), LatentConditioned),
        )
    ]
    for game in games[1:]:
        assert equal(game.state(), games[0].state())


@pytest.mark.parametrize("condition", [Classes, Vectors])
def test_a_single_condition_is_the_unconditional_gan(condition):
    plain, seen = FewFaces(), {}
    one = Label(torch.zeros(COUNT, dtype=torch.int64), ["cluster 0"])
    for kind in (None, condition):
        data = Joined(plain, label=one, vector=type(one)(torch.ones(COUNT, 1)))
        # Spectral norm would divide a projection of 0 by 0.
        game = game_on(data, condition=kind, spectral_norm=False)
        if kind is not None:
            base = snapshot(seen[None][0])
            for name, weight in game.named_parameters():
                if name in base:
                    weight.data.copy_(base[name])
            for norm in (m for m in game.modules() if hasattr(m, "gain")):
                condition.start_at(game.condition, 1.0, norm.gain)
                if condition is Vectors:  # the bias alone learns, as the plain gain does
                    for layer in (norm.gain, norm.bias):
                        layer.weight.register_hook(torch.zeros_like)
            # The projection adds to the output layer what that learns by itself.
            game.discriminator.embed.weight.data.zero_()
            game.discriminator.embed.weight.register_hook(torch.zeros_like)
        losses = []
        add = game._losses.add
        game._losses.add = lambda i, player, found, add=add, losses=losses: (
            losses.append({name: loss.item() for name, loss in found.items()}),
            add(i, player, found),
        )[1]
        seen[kind] = (copy.deepcopy(game), losses)
        played_on(data, game)
        seen[kind] = (seen[kind][0], losses, game)
    assert len(seen[None][1]) == 8
    for mine, theirs in zip(seen[condition][1], seen[None][1], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def test_permuted_ids_with_permuted_rows_change_nothing():
    generator, discriminator = (network.eval() for network in networks(Classes(5)))
    latents, asked = torch.randn(12, 8), torch.arange(12) % 5
    images = generator(latents, asked)
    logits = discriminator(images, asked).logits
    names = torch.randperm(5, generator=keyed_generator("names"))
    for module in (*generator.modules(), *discriminator.modules()):
        if isinstance(module, torch.nn.Embedding):
            for weight in module.parameters():
                permuted = weight.data.clone()
                permuted[names] = weight.data
                weight.data.copy_(permuted)
            for buffer in module.buffers():  # of a spectral norm: one number for each row
                if len(buffer.shape) and len(buffer) == 5:
                    moved = buffer.clone()
                    moved[names] = buffer
                    buffer.copy_(moved)
    torch.testing.assert_close(generator(latents, names[asked]), images)
    torch.testing.assert_close(
        discriminator(images, names[asked]).logits, logits, rtol=1e-4, atol=1e-5
    )


def test_fakes_are_asked_for_clusters_as_often_as_the_data_have_them(conditioned):
    data = conditioned("cluster")
    condition = Classes.of_data(data.spec, "data")
    condition.fill(data)
    n = 20_000
    drawn = condition.draw(Draws(0, "ids"), n).bincount(minlength=4)
    expected = n * data.ids.bincount(minlength=4) / COUNT
    assert ((drawn - expected).square() / expected).sum() < 25.9  # once in 10^5, 3 degrees


@pytest.mark.parametrize("network", ["lite", "resnet", "dcgan"])
@pytest.mark.parametrize("mode", ["cluster", "feature", "soft"])
def test_shapes(network, mode, conditioned):
    data = conditioned(mode)
    words = ["gan=latent_conditioned", f"conditioner={mode}", f"network={network}"]
    config = composed([*words, "batch_size=4", "gan.precision=32"])
    for each in config.network.values():
        each.width = 8
    game = build_game(config, data.spec)
    game.condition.fill(data)
    inputs = game.inputs_at(range(5))
    assert inputs.condition.shape == ((5,) if mode == "cluster" else (5, game.condition.features))
    images = game.sample(inputs)
    assert images.shape == (5, *SHAPE)
    assert game.discriminator(images, inputs.condition).logits.shape == (5, 1)


@pytest.mark.parametrize("choice", ["rotation", "infomax", "dag", "multi_class", "r1"])
@pytest.mark.parametrize("mode", ["cluster", "feature"])
def test_terms_stack_on_it(choice, mode, conditioned):
    data = conditioned(mode)
    words = ["gan=latent_conditioned", f"conditioner={mode}", "network=lite", f"terms=[{choice}]"]
    config = composed([*words, *QUICK, "iterations=1", "gan.precision=32", "gan.n_dis=1"])
    game = build_game(config, data.spec)
    game.condition.fill(data)
    played_on(data, game)
    assert all(math.isfinite(loss) for loss in game.last_losses.values())


# Neighbours as reals ----------------------------------------------------------------------------


def test_the_real_of_a_feature_is_one_of_the_items_nearest_to_it(conditioned):
    data = conditioned("feature", k_nn=5)
    distances = torch.cdist(data.vectors.double(), data.vectors.double())
    slow = distances.argsort(dim=1)[:, :5]
    data.plan(seed=0, batch_size=COUNT, batches_per_iteration=5, iterations=1)
    (block,) = data.train_dataloader()
    reals = data.on_after_batch_transfer(block, 0)["reals"]
    assert reals.count == 5 * COUNT  # an epoch of pairs
    everything = data.source.image.values / 127.5 - 1
    pairs = set()
    for image, vector in zip(reals.image, reals.vector, strict=True):
        item = int((data.vectors - vector).abs().sum(1).argmin())
        neighbour = int((everything - image).abs().flatten(1).sum(1).argmin())
        assert neighbour in slow[item].tolist()
        pairs.add((item, neighbour))
    assert len(pairs) == 5 * COUNT  # each exactly once: all conditions are equally frequent
    (items,) = data.real_batches(COUNT)
    assert items.count == COUNT and torch.equal(items.vector, data.vectors)
    streamed = conditioned("feature", FewFaces(resident=False, num_workers=0), k_nn=5)
    streamed.plan(seed=0, batch_size=COUNT, batches_per_iteration=5, iterations=1)
    (block,) = streamed.train_dataloader()
    other = streamed.on_after_batch_transfer(block, 0)["reals"]
    assert torch.equal(other.image, reals.image) and torch.equal(other.vector, reals.vector)


# L_lat ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["cluster", "feature", "soft"])
def test_the_term_teaches_the_generator_and_leaves_the_encoder_as_it_is(mode, conditioned):
    data = conditioned(mode)
    condition = Classes if mode == "cluster" else Vectors
    term = LatentConsistency(generator_weight=10.0)
    game = game_on(data, condition=condition, terms={"latent_consistency": term})
    encoder = data.assigner.encoder
    before, weights = hash_of_weights(encoder), snapshot(game)
    played_on(data, game, stop=2)
    assert hash_of_weights(encoder) == before and not encoder.training
    assert changed(weights, game)
    assert all(parameter.grad is None for parameter in data.assigner.parameters())
    assert not [name for name in game.state_dict() if "encoder" in name]
    assert "generator/latent_consistency" in game.last_losses

    fake = game.fakes(game.inputs_at(range(8)))
    step = type("Seen", (), {"fake": fake})
    loss = game.terms["latent_consistency"].generator_loss(step)
    (gradient,) = torch.autograd.grad(loss, game.generator.to_image.weight)
    assert gradient.abs().max() > 0


def test_the_losses_of_the_term_in_closed_form(conditioned):
    data = conditioned("cluster")
    term = LatentConsistency(temperature=0.5)
    term.fill(data)
    (items,) = data.real_batches(COUNT)
    images = items.image / 127.5 - 1
    vectors = data.assigner.vectors(images)
    distances = torch.cdist(vectors, data.assigner.centres).square().double() / 0.5
    expected = (distances[range(COUNT), data.ids] + (-distances).logsumexp(1)).mean()
    step = type("Seen", (), {"fake": Items(image=images, condition=data.ids)})
    assert term.generator_loss(step).item() == pytest.approx(expected.item(), rel=1e-4)
    data = conditioned("feature")
    term.fill(data)
    step.fake = Items(image=images, condition=data.vectors)
    assert term.generator_loss(step).item() == pytest.approx(0, abs=1e-4)
    step.fake = Items(image=images, condition=-data.vectors)
    assert term.generator_loss(step).item() == pytest.approx(2, abs=1e-4)


def test_weight_zero_leaves_the_encoder_uncalled(conditioned, monkeypatch):
    data = conditioned("cluster")
    term = LatentConsistency(generator_weight=0.0)
    game = game_on(data, terms={"latent_consistency": term})
    monkeypatch.setattr(Extractor, "__call__", lambda *_: pytest.fail("the encoder was called"))
    played_on(data, game)
    monkeypatch.undo()
    plain = played_on(data, game_on(data))
    assert equal(game.state()["modules"], plain.state()["modules"])


def test_the_term_without_a_representation_is_refused():
    with pytest.raises(UserError, match="needs conditions of a representation: choose"):
        game_on(FewFaces(), terms={"latent_consistency": LatentConsistency()})


# Clusters that move -----------------------------------------------------------------------------

ONLINE = [
    *("gan=latent_conditioned", "conditioner=online", *FEW, *QUICK, "gan.lr_schedule=constant"),
    *("representation=extractor", "stages.representation.extractor=raw"),
    *("stages.conditioner.k=4", "callbacks.reclustering.every=2", "checkpoint_every=1"),
]


def test_a_run_whose_clusters_move_resumes_bit_for_bit(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train_here([*ONLINE, f"output_dir={whole}", "run_name=run", "iterations=6"])
    train_here([*ONLINE, f"output_dir={broken}", "run_name=run", "iterations=4"])
    more = [TRUST, "iterations=6", "allow_changes=true"]
    train_here([f"ckpt={broken}/run", *more])
    a, b = (checkpoint_file.load(folder / "run")["game"] for folder in (whole, broken))
    assert equal(a, b)
    run = TrainedRun.find(whole / "run", whole, ["few_faces"])
    ids = run.game().condition.ids
    first = run.data().ids
    assert len(ids) == COUNT and not torch.equal(ids, first)
    shares = ids.bincount(minlength=4) / COUNT
    torch.testing.assert_close(run.game().condition.shares, shares.double())


def test_clusters_of_the_same_features_keep_their_ids(conditioned):
    data = conditioned("cluster")
    game = game_on(data, condition=MovingClasses)
    callback = Reclustering(every=1, items=COUNT)
    callback.check(data, game)
    for _ in range(8):  # until k-means, which starts at the means, stands still
        before = game.condition.ids.clone()
        game.condition.move(callback.clustered(data, game))
    assert torch.equal(game.condition.ids, before)
    reals = Items(image=torch.zeros(3, *SHAPE), index=torch.tensor([5, 0, 7]))
    assert torch.equal(game.condition.of(reals), before[[5, 0, 7]])
    with pytest.raises(UserError, match="moves the classes of condition=moving"):
        callback.check(data, game_on(data))


def test_without_a_condition_it_is_sngan(tmp_path):
    settings = {"gan=sngan": SNGAN, "gan=latent_conditioned": LatentConditioned}
    states = []
    for gan, kind in settings.items():
        none = ["representation=none", "conditioner=none"] if "latent" in gan else []
        folder = tmp_path / kind.__name__
        train_here([gan, *none, *FEW, *QUICK, f"output_dir={folder}", "run_name=run"])
        states.append(checkpoint_file.load(folder / "run")["game"])
    assert equal(*states)
