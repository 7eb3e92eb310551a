"""Conditions: how they are drawn, how networks take them in, what a checkpoint keeps of them."""

import copy
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from play import Made, networks_of, play, spec_of
from torch import nn
from train_cli import QUICK, composed, train_here

from saddlepoint.errors import UserError
from saddlepoint.gans import CGANPD
from saddlepoint.gans.networks.conditions import Attributes, Classes, Vectors
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.items import Items
from saddlepoint.randomness import Draws, keyed_generator
from saddlepoint.records.reading import read_records
from saddlepoint.records.record import FILE_NAME
from saddlepoint.runs.build import build_game, game_of_checkpoint
from saddlepoint.runs.trained_run import TrainedRun

SHAPE = (3, 16, 16)
SMALL = {"iterations": 3, "batch_size": 8, "n_dis": 1, "precision": "32", "log_every": 1}


class Data:
    """Items in their order, in batches of odd size."""

    def __init__(self, **fields):
        self.items = Items(fields)
        shapes = {name: tuple(field.shape[1:]) for name, field in self.items.items()}
        self.spec = SimpleNamespace(name="some_data", fields=shapes, num_items=self.items.count)

    def real_batches(self, batch_size, indices=None):
        yield from self.items.batches(7)


# How they are drawn -----------------------------------------------------------------------------


def test_uniform_classes_are_plain_integers():
    condition = Classes(7)
    condition.fill(None)  # needs nothing of the data
    assert torch.equal(condition.draw(Draws(0, "y"), 500), Draws(0, "y").integers(500, 7))


@pytest.mark.parametrize("counts", [(0, 50, 0, 30, 20, 0), (1, 2, 3, 4, 90, 0), (0, 0, 9, 0, 0, 0)])
def test_classes_by_the_frequencies_of_the_data(counts):
    labels = torch.repeat_interleave(torch.arange(6), torch.tensor(counts))
    order = torch.randperm(len(labels), generator=keyed_generator("order"))
    condition = Classes(6, "data")
    condition.fill(Data(label=labels[order]))
    shares = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    torch.testing.assert_close(condition.shares, shares)

    n = 50_000
    drawn = condition.draw(Draws(0, "classes"), n)
    assert drawn.dtype == torch.int64
    found = drawn.bincount(minlength=6)
    assert len(found) == 6
    assert not found[shares == 0].any()
    expected = n * shares[shares > 0]
    chi_square = ((found[shares > 0] - expected).square() / expected).sum()
    assert chi_square < 27.9  # exceeded once in 10^5 times with 4 degrees of freedom
    # Two processes draw together what one does.
    halves = [condition.draw(Draws(0, "classes", rank=r, world_size=2), n // 2) for r in (0, 1)]
    assert torch.equal(torch.cat(halves), drawn)


def test_before_they_are_counted_all_classes_are_as_frequent():
    counts = Classes(4, "data").draw(Draws(0), 4000).bincount(minlength=4)
    assert (counts - 1000).abs().max() < 5 * 27.4  # standard deviation (n p q)^0.5


@pytest.mark.parametrize(("kind", "field"), [(Vectors, "vector"), (Attributes, "attributes")])
def test_a_bank_has_every_item_in_order_and_is_drawn_from_uniformly(kind, field):
    rows = torch.arange(100).view(20, 5) % 2 if kind is Attributes else torch.randn(20, 5)
    rows[:, 0] = torch.arange(20)  # tells them apart
    data = Data(image=torch.rand(20, 1), **{field: rows})
    condition = kind.of_data(data.spec)
    assert condition.kind == ("vectors" if kind is Vectors else "attributes")
    assert (condition.features, condition.num_classes) == (5, 0)
    condition.fill(data)
    assert torch.equal(condition.bank, rows.float())

    drawn = condition.draw(Draws(0, "rows"), 20_000)
    assert torch.equal(drawn, rows.float()[Draws(0, "rows").integers(20_000, 20)])
    counts = drawn[:, 0].long().bincount(minlength=20)
    chi_square = ((counts - 1000).double().square() / 1000).sum()
    assert chi_square < 53.0  # exceeded once in 20 000 times with 19 degrees of freedom
    reals = data.items.part(slice(3, 6))
    assert torch.equal(condition.of(reals), rows[3:6].float())


def test_labels_are_the_classes_of_reals():
    labels = torch.tensor([2, 0, 1])
    assert torch.equal(Classes(3).of(Items(image=torch.rand(3, 1), label=labels)), labels)


# How networks take them in ----------------------------------------------------------------------


def networks(condition, seed=0):
    torch.manual_seed(seed)
    return (
        LiteGenerator(shape=SHAPE, width=8, latent_dim=8, condition=condition),
        LiteDiscriminator(shape=SHAPE, width=8, condition=condition),
    )


def filled(seed=0, rows=16):
    condition = Vectors(5, rows)
    bank = torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))
    condition.fill(Data(vector=bank))
    return condition


def with_vectors(game):
    images = torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    vectors = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    return lambda iteration: Items(image=images, vector=vectors)


def test_a_generator_begins_as_if_there_were_no_vectors_and_learns_to_heed_them():
    condition = filled()
    pair = networks(condition)
    game = CGANPD(*pair, condition=condition, **SMALL)
    latents = torch.randn(1, 8).expand(6, 8)
    asked = torch.randn(6, 5)

    def spread():
        images = game.generator.eval()(latents, asked)
        game.generator.train()
        return (images - images[:1]).abs().max()

    assert spread() == 0
    for layer in (m for m in game.generator.modules() if hasattr(m, "gain")):
        assert torch.equal(layer.gain(asked), torch.ones(6, len(layer.gain.bias)))
        assert not layer.bias(asked).any()
    play(game, stop=1, blocks=Made(game, with_vectors(game), stop=1))
    assert spread() > 0


def test_a_discriminator_takes_vectors_by_a_linear_projection_without_bias():
    discriminator = networks(filled())[1].eval()
    images, asked = torch.randn(6, *SHAPE), torch.randn(6, 5)
    features = discriminator(images, asked)
    expected = ((asked @ discriminator.embed.weight.T) * features.pooled).sum(1, keepdim=True)
    torch.testing.assert_close(features.logits - discriminator.head(features.pooled), expected)
    nothing = discriminator(images, torch.zeros(6, 5))
    torch.testing.assert_close(nothing.logits, discriminator.head(features.pooled))


@pytest.mark.parametrize("network", ["resnet", "dcgan", "lite", "mlp"])
@pytest.mark.parametrize("condition", [Vectors(5, 2), Attributes(5, 2)], ids=lambda c: c.kind)
def test_every_pair_of_networks_takes_vectors(network, condition):
    shape = (2,) if network == "mlp" else (3, 32, 32)
    pair = networks_of(composed([f"network={network}"]).network, shape, condition, width=16)
    asked = torch.tensor([[0.0, 1, 0, 1, 1], [1, 0, 0, 1, 0]])
    images = pair["generator"](torch.randn(2, pair["generator"].latent_dim), asked)
    logits = pair["discriminator"](images, asked).logits
    logits.sum().backward()
    assert logits.shape == (2, 1)
    # A weight or a bank of the condition itself is nobody's parameter.
    names = [name for n in pair.values() for name, _ in n.named_parameters()]
    assert not any("bank" in name or "shares" in name for name in names)


def test_classes_start_with_gains_of_their_own_around_one():
    layer = Classes(400).layer(50)
    Classes(400).start_at(1.0, layer, spread=0.02)
    assert isinstance(layer, nn.Embedding)
    assert layer.weight.mean().item() == pytest.approx(1.0, abs=5 * 0.02 / 20_000**0.5)
    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
    Classes(400).start_at(3.0, layer)
    assert (layer.weight == 3).all()


# What is kept -----------------------------------------------------------------------------------


def test_a_bank_survives_in_the_state_of_a_game():
    condition = filled()
    game = CGANPD(*networks(condition), condition=condition, **SMALL)
    play(game, stop=2, blocks=Made(game, with_vectors(game), stop=2))
    state = copy.deepcopy(game.state())
    assert torch.equal(state["modules"]["condition.bank"], condition.bank)

    other = Vectors(5, 16)  # never filled
    resumed = CGANPD(*networks(other, seed=1), condition=other, **SMALL)
    resumed.load_state(state)
    inputs, expected = resumed.inputs_at(range(9)), game.inputs_at(range(9))
    assert torch.equal(inputs.condition, expected.condition)
    assert inputs.condition.any()
    condition = filled()
    straight = CGANPD(*networks(condition), condition=condition, **SMALL)
    for each in (straight, resumed):
        play(each, blocks=Made(each, with_vectors(each)))
    assert torch.equal(straight.sample(expected), resumed.sample(expected))


def test_frequencies_survive_in_a_checkpoint():
    small = [f"network.{name}.width=8" for name in ("generator", "discriminator")]
    words = ["gan=cgan_pd", "network=lite", "condition.frequencies=data", *small]
    config = composed([*words, "iterations=1", "batch_size=4", "gan.precision='32'"])
    spec = spec_of(SHAPE, 3)
    game = build_game(config, spec)
    game.condition.fill(Data(label=torch.tensor([1, 1, 1, 2])))
    play(game)
    assert game.condition.kind == "classes"
    settings = OmegaConf.to_container(config, resolve=True)
    content = {"config": settings, "data": spec.plain(), "game": game.state()}
    again = game_of_checkpoint(content)
    assert again.condition.shares.tolist() == [0.0, 0.75, 0.25]
    asked = again.inputs_at(range(1000)).condition
    assert torch.equal(asked, game.inputs_at(range(1000)).condition)
    assert set(asked.tolist()) == {1, 2}


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Classes.of_data(spec_of(SHAPE)), "condition=classes needs classes and some_data"),
        (lambda: Vectors.of_data(spec_of(SHAPE, 3)), "condition=vectors .* the field vector"),
        (lambda: Attributes.of_data(spec_of(SHAPE, 3)), "condition=attributes .* attributes"),
        (lambda: Classes(3, "often"), "frequencies=often is not to be had: give uniform"),
        (
            lambda: CGANPD(*networks(None), **SMALL),
            "needs a condition: set condition=classes, or choose",
        ),
    ],
)
def test_what_the_data_lack_is_refused_in_one_sentence(make, sentence):
    with pytest.raises(UserError, match=sentence) as refused:
        make()
    message = str(refused.value)
    assert message.endswith(".")
    assert ". " not in message and "\n" not in message


def test_by_default_classes_are_asked_for_where_the_data_have_any():
    assert Classes.where_known(spec_of(SHAPE)) is None
    known = Classes.where_known(spec_of(SHAPE, 3), frequencies="data")
    assert (known.num_classes, known.shares.numel()) == (3, 3)
    small = ["network.generator.width=8", "network.discriminator.width=8", "network=lite"]
    config = composed(small)
    for num_classes, kind in ((0, None), (3, "classes")):
        game = build_game(config, spec_of(SHAPE, num_classes))
        assert (game.condition and game.condition.kind) == kind


def test_records_hold_what_kind_of_condition_there_is(tmp_path):
    words = ["iterations=2", "score_every=2", f"output_dir={tmp_path}", *QUICK]
    for name, more in (("with", ()), ("without", ("condition=none",))):
        train_here([*words, "monitor=quick", "monitor.num_fake=64", f"run_name={name}", *more])
    asked, free = (read_records(tmp_path / n / FILE_NAME)[-1] for n in ("with", "without"))
    assert asked["run"]["condition"] == "classes" and "condition" not in free["run"]
    run = TrainedRun.find(tmp_path / "with", tmp_path)
    assert run.about(run.game())["condition"] == "classes"


def test_data_with_attributes_give_a_condition():
    condition = Attributes.of_data(spec_of(SHAPE, attributes=("smiling", "hat")))
    assert (condition.kind, condition.features) == ("attributes", 2)


def test_a_fresh_run_fills_its_condition_from_its_data(tmp_path):
    words = ["gan=cgan_pd", "network=lite", "condition.frequencies=data", *QUICK]
    train_here([*words, "iterations=2", f"output_dir={tmp_path}", "run_name=run"])
    run = TrainedRun.find(tmp_path / "run", tmp_path)
    counts = torch.bincount(torch.cat([items.label for items in run.data().real_batches(512)]))
    assert torch.allclose(run.game().condition.shares, counts / counts.sum().double())
