"""From a representation to clusters to a conditional GAN: what is made anew, and what it means."""

import copy
import math

import pytest
import torch
from few_faces import COUNT, FEW, FewFaces
from omegaconf import OmegaConf
from play import Made, changed, play, snapshot
from train_cli import QUICK, command, composed, equal, train_here

from saddlepoint.datamodules.fields import Label
from saddlepoint.datamodules.relabelled import Joined
from saddlepoint.errors import UserError
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.fakes import Generated, GeneratorFakes
from saddlepoint.extractors.extractor import Extractor, hash_of_weights
from saddlepoint.gans import CGANPD, SNGAN, LatentConditioned
from saddlepoint.gans.networks.conditions import Classes, MovingClasses, Vectors
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.items import Items
from saddlepoint.losses.latent_consistency import LatentConsistency
from saddlepoint.randomness import Draws, keyed_generator
from saddlepoint.representations.simclr import SimCLR
from saddlepoint.runs import artifact, checkpoint_file
from saddlepoint.runs.build import build_game
from saddlepoint.runs.callbacks.reclustering import Reclustering
from saddlepoint.runs.conditioner import Conditioner
from saddlepoint.runs.learned_representation import LearnedRepresentation
from saddlepoint.runs.stages import after_stages
from saddlepoint.runs.trained_run import TrainedRun

SHAPE = (3, 32, 32)
TRUST = "trust=[few_faces]"
#: Three stages in moments.
SMALL = [
    *("gan=latent_conditioned", *FEW, *QUICK, "iterations=2"),
    *("stages.representation.epochs=1", "stages.representation.method.width=2"),
    *("stages.conditioner.k=4", "stages.conditioner.restarts=2"),
]


def representation(**settings):
    method = {"_target_": "saddlepoint.representations.simclr.SimCLR", "width": 2}
    stage = "saddlepoint.runs.learned_representation.LearnedRepresentation"
    return {"_target_": stage, "method": method, "epochs": 1, "device": "cpu", **settings}


def conditioner(mode, **settings):
    stage = "saddlepoint.runs.conditioner.Conditioner"
    return {"_target_": stage, "mode": mode, "k": 4, "restarts": 2, **settings}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture
def conditioned(folder):
    """Data after both stages; what was made is found again by the tests that follow."""

    def make(mode, data=None, **settings):
        stages = {"representation": representation(), "conditioner": conditioner(mode, **settings)}
        return after_stages(OmegaConf.create(stages), data or FewFaces(), folder).data

    return make


def networks(condition, **options):
    torch.manual_seed(0)
    return (
        LiteGenerator(shape=SHAPE, width=8, latent_dim=8, condition=condition),
        LiteDiscriminator(shape=SHAPE, width=8, condition=condition, **options),
    )


def game_on(data, kind=LatentConditioned, condition=Classes, terms=None, **options):
    made = condition.of_data(data.spec) if condition else None
    settings = {"iterations": 4, "batch_size": 8, "n_dis": 1, "precision": "32", "log_every": 1}
    extra = {} if terms is None else {"terms": terms}
    game = kind(*networks(made, **options), condition=made, **settings, **extra)
    if made is not None:
        made.fill(data)
    game.fill(data)
    return game


def played_on(data, game, stop=None):
    """Play on the blocks that a run would be served."""
    needs = {"batch_size": 8, "batches_per_iteration": game.batches_per_iteration}
    data.plan(seed=game.seed, iterations=game.iterations, start=game.iteration, **needs)
    blocks = list(data.train_dataloader())
    served = [data.on_after_batch_transfer(block, 0)["reals"] for block in blocks]
    first = game.iteration
    return play(game, stop, blocks=Made(game, lambda i: served[i - first], stop))


# Stages -----------------------------------------------------------------------------------------


def artifacts(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "artifacts").glob("*.pt")}


def made(folder, stage):
    return sorted(name for name in artifacts(folder) if name.startswith(stage))


def test_one_command_runs_all_stages_and_only_those_that_something_changed_for(tmp_path, capsys):
    words = [*SMALL, f"output_dir={tmp_path}"]
    train_here([*words, "run_name=a"])
    first, said = artifacts(tmp_path), capsys.readouterr().out
    assert len(first) == 2
    assert "stage representation: made in" in said and "stage conditioner: made in" in said
    assert "k-NN, class" in said and "NMI" in said
    assert all((tmp_path / "artifacts" / name).with_suffix(".png").exists() for name in first)
    run = TrainedRun.find(tmp_path / "a", tmp_path, ["few_faces"])
    assert run.game().condition.num_classes == 4 and type(run.game()) is LatentConditioned
    reports = run.about(run.game())["stages"]
    assert {"NMI", "ACC", "ARI"} <= reports["conditioner"].keys()
    assert "linear probe, attributes" in reports["representation"]

    train_here([*words, "run_name=b", "gan.generator_optimizer.lr=1e-3", "seed=1"])
    assert artifacts(tmp_path) == first
    train_here([*words, "run_name=c", "stages.conditioner.k=3"])
    assert made(tmp_path, "representation") == [n for n in first if n.startswith("repres")]
    assert len(made(tmp_path, "conditioner")) == 2
    train_here([*words, "run_name=d", "stages.representation.method.temperature=0.4"])
    assert len(made(tmp_path, "representation")) == 2 and len(made(tmp_path, "conditioner")) == 3


def test_a_representation_that_is_cut_off_goes_on_where_it_stood(tmp_path, monkeypatch):
    settings = OmegaConf.create({"representation": representation(epochs=3)})
    whole = after_stages(settings, FewFaces(), tmp_path / "whole").data
    written, seen = artifact.write, []

    def stop_after_two(path, content):
        written(path, content)
        if content.content["epochs"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("saddlepoint.runs.stages.write", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        after_stages(settings, FewFaces(), tmp_path / "broken")
    assert [p.name.split(".")[-2] for p in (tmp_path / "broken").glob("*.pt")] == ["partial"]
    monkeypatch.setattr("saddlepoint.runs.stages.write", written)
    views = SimCLR.loss
    monkeypatch.setattr(SimCLR, "loss", lambda *given: (seen.append(1), views(*given))[1])
    resumed = after_stages(settings, FewFaces(), tmp_path / "broken").data
    assert len(seen) == 1  # of three epochs of one update each
    assert equal(resumed.encoder.state_dict(), whole.encoder.state_dict())
    assert not list((tmp_path / "broken").glob("*.partial.pt"))
    (first,), (second,) = ((tmp_path / n).glob("*.pt") for n in ("whole", "broken"))
    assert first.name == second.name
    assert equal(*(torch.load(p, weights_only=True)["sha256"] for p in (first, second)))


def test_labels_are_never_read_for_training_and_a_run_without_any_trains(tmp_path):
    data = FewFaces()
    shuffled = data.source.label.values.flip(0)
    other = Joined(data, label=Label(shuffled, data.spec.classes))
    blank = Joined(data)
    blank.load = lambda: data.source.replaced(label=None, attributes=None)
    stages = OmegaConf.create(
        {"representation": representation(), "conditioner": conditioner("cluster")}
    )
    found = [
        after_stages(stages, each, tmp_path / str(n)) for n, each in enumerate((data, other, blank))
    ]
    for prepared in found[1:]:
        assert torch.equal(prepared.data.vectors, found[0].data.vectors)
        assert torch.equal(prepared.data.ids, found[0].data.ids)
    assert "representation" not in found[2].reports
    assert "NMI" not in found[2].reports["conditioner"]
    assert found[0].reports != found[1].reports


def test_conditions_belong_to_items_and_not_to_positions(conditioned):
    data = conditioned("cluster")
    order = torch.randperm(COUNT, generator=keyed_generator("order"))
    for items in data.real_batches(7, order):
        assert torch.equal(items.label, data.ids[items.index])
    game = game_on(data)
    data.plan(seed=5, batch_size=8, batches_per_iteration=1, iterations=30)
    for block in data.train_dataloader():
        reals = data.on_after_batch_transfer(block, 0)["reals"]
        assert torch.equal(game.condition.of(reals), data.ids[reals.index])
        stored = data.source.image.values[reals.index]
        assert torch.equal(reals.image, stored / 127.5 - 1)


def test_features_of_other_images_are_not_taken(conditioned):
    data = FewFaces()
    stage = LearnedRepresentation(SimCLR(width=2), epochs=1)
    content = {"features": torch.zeros(COUNT, 16), "data": "sha256-0"}
    with pytest.raises(UserError, match="are not those of avatars: delete its artifact"):
        stage.join(data, artifact.Artifact("representation", "abc", content))


def test_vectors_have_length_one_and_the_encoder_gives_them_again(conditioned):
    data = conditioned("feature")
    assert (data.vectors.norm(dim=1) - 1).abs().max() < 1e-5
    assert torch.equal(data.source.vector.values, data.vectors)
    data.assigner.load("cpu")
    (items,) = data.real_batches(COUNT)
    again = data.assigner.vectors(items.image)
    # What was found in batches of another size differs by rounding.
    torch.testing.assert_close(again, data.vectors, rtol=1e-3, atol=1e-4)
    floats = data.assigner.vectors(items.image / 127.5 - 1)
    torch.testing.assert_close(floats, again, rtol=1e-3, atol=1e-4)
    found = data.assigner.assign(again)
    assert (found == data.ids).float().mean() > 0.98  # but for vectors on a border


def test_what_each_mode_gives(conditioned):
    cluster, random = conditioned("cluster"), conditioned("random")
    assert torch.equal(random.ids.bincount(), cluster.ids.bincount())
    assert not torch.equal(random.ids, cluster.ids)
    assert torch.equal(random.assigner.centres, cluster.assigner.centres)
    labels, plain = conditioned("labels"), FewFaces()
    assert torch.equal(labels.source.label.values, plain.source.label.values)
    assert labels.spec.classes == plain.spec.classes
    soft = conditioned("soft", temperature=0.3)
    distances = torch.cdist(soft.vectors, soft.assigner.centres).square()
    expected = (-distances / 0.3).softmax(1)
    torch.testing.assert_close(soft.source.vector.values, expected, rtol=1e-3, atol=1e-5)
    assert torch.equal(soft.cluster_of(expected), soft.ids)


def test_settings_that_cannot_be_are_refused(conditioned):
    with pytest.raises(UserError, match="k_nn=5 is for vectors as conditions"):
        Conditioner("cluster", k_nn=5)
    with pytest.raises(UserError, match="mode=clusters is not to be had"):
        Conditioner("clusters")
    with pytest.raises(UserError, match="96 images do not make 97 clusters"):
        conditioned("cluster", k=COUNT + 1)


def test_a_conditioner_without_a_representation_is_refused(tmp_path, capfd):
    words = ["gan=latent_conditioned", "representation=none", *FEW, *QUICK]
    assert command([*words, f"output_dir={tmp_path}"]) == 2
    assert "choose representation=simclr" in capfd.readouterr().err


def test_a_tenth_that_is_held_out_is_neither_learned_nor_clustered(conditioned):
    data = conditioned("cluster", FewFaces(held_out=0.25))
    assert len(data.ids) == data.spec.num_items == 72
    assert data.held_out.spec.num_items == 24 and "label" not in data.held_out.source


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


# What is said of it -----------------------------------------------------------------------------


class Copies:
    """Fakes that are training items, asked for what ``asks`` says of each."""

    kind, count, source, fields = "images", COUNT, None, frozenset(["condition"])

    def __init__(self, data, asks):
        self.data, self.asks = data, asks

    def batches(self, positions, batch_size, seed, batch_norm="eval"):
        for items in self.data.real_batches(batch_size, list(positions)):
            yield Generated(items.image, items.index * 0, Items(condition=self.asks[items.index]))


def consistency(data, fakes):
    evaluator = Evaluator.named("conditions", num_fake=COUNT)
    return evaluator.prepare(data, fakes=fakes).score(fakes)


def test_consistency_of_reals_and_of_reals_asked_for_something_else(conditioned):
    data = conditioned("cluster")
    found = consistency(data, Copies(data, data.ids))
    assert found.means["consistency"] > 0.98  # but for vectors on a border
    others = (data.ids + 1) % 4
    assert consistency(data, Copies(data, others)).means["consistency"] < 0.02
    assert list(found.means) == ["consistency"]  # nothing is held out
    features = conditioned("feature")
    assert consistency(features, Copies(features, features.vectors)).means["consistency"] > 0.98


def test_the_ceiling_is_what_held_out_images_reach(conditioned):
    data = conditioned("cluster", FewFaces(held_out=0.25))
    game = game_on(data)
    found = consistency(data, GeneratorFakes(game, data))
    ceiling = found.means["consistency of held-out reals"]
    (items,) = data.held_out.real_batches(100)
    vectors = data.assigner.vectors(items.image)
    near = torch.cdist(vectors.double(), data.vectors.double()).argmin(1)
    expected = (data.assigner.assign(vectors) == data.ids[near]).double().mean()
    assert ceiling == pytest.approx(expected.item())
    assert found.directions == {"consistency": "larger"}
    other = conditioned("cluster", FewFaces(held_out=0.25), seed=3, k=5)
    protocols = [consistency(d, GeneratorFakes(game_on(d), d)).protocol for d in (data, other)]
    assert protocols[0].fingerprint != protocols[1].fingerprint


def test_consistency_needs_conditions_of_a_representation():
    data = FewFaces()
    with pytest.raises(UserError, match="consistency needs a run whose conditions come from"):
        Evaluator.named("conditions").check(data)


@pytest.mark.parametrize("mode", ["cluster", "feature", "soft"])
def test_items_that_show_a_condition_best(mode, conditioned):
    data = conditioned(mode)
    asked = torch.arange(4) if mode == "cluster" else data.source.vector.values[:4]
    items = data.items_of(asked, 3)
    assert items.shape == (4, 3)
    if mode == "feature":
        assert torch.equal(items[:, 0], torch.arange(4))
        return
    for row, cluster in zip(items, data.cluster_of(asked), strict=True):
        own = torch.nonzero(data.ids == cluster).flatten()
        distances = (data.vectors[own] - data.assigner.centres[cluster]).norm(dim=1)
        assert row[0] == own[distances.argmin()]


@pytest.mark.parametrize("mode", ["cluster", "feature", "soft", "random", "labels"])
def test_conditions_that_ask_for_one_cluster(mode, conditioned):
    data = conditioned(mode)
    asked = data.asking_for(2, 4000, Draws(0, "conditions"))
    again = data.asking_for(2, 4000, Draws(0, "conditions"))
    assert torch.equal(asked, again) and len(asked) == 4000
    if mode not in ("feature", "soft"):
        assert (asked == 2).all()
        return
    own = data.vectors[data.ids == 2]
    assert not torch.equal(asked[0], asked[1])
    if mode == "feature":
        assert torch.allclose(asked.norm(dim=1), torch.ones(4000), atol=1e-5)
        # Nothing is drawn but what the cluster's own vectors span.
        basis = torch.linalg.qr(torch.cat([own.mean(0)[None], own - own.mean(0)]).mT)[0]
        assert torch.allclose(asked, asked @ basis @ basis.mT, atol=1e-4)
    else:
        assert torch.allclose(asked.sum(1), torch.ones(4000), atol=1e-5)
    chosen = data.cluster_of(asked).bincount(minlength=4)
    assert chosen.argmax() == 2


def test_one_vector_is_a_cluster_without_spread(conditioned):
    data = conditioned("feature")
    data.ids = torch.where(torch.arange(len(data.ids)) == 5, 2, 0)
    asked = data.asking_for(2, 3, Draws(0, "conditions"))
    assert torch.allclose(asked, data.vectors[[5, 5, 5]], atol=1e-6)


def test_a_cluster_that_there_is_not_is_refused(conditioned):
    with pytest.raises(UserError, match="cluster=4 is none of the 4 clusters"):
        conditioned("feature").asking_for(4, 1, Draws(0, "conditions"))


@pytest.mark.parametrize("choice", ["cluster", "feature"])
def test_a_picture_of_conditions(choice, tmp_path):
    words = [word for word in SMALL if "restarts" not in word]
    train_here([*words, f"conditioner={choice}", f"output_dir={tmp_path}", "run_name=run"])
    few = ["rows=3", "columns=2", "neighbours=2", f"output_dir={tmp_path}", TRUST]
    assert command(["what=conditions", *few], "sample.py") == 0
    assert (tmp_path / "run" / "conditions.png").stat().st_size > 1000
    one = tmp_path / "one.png"
    assert command(["what=conditions", "cluster=1", f"output={one}", *few], "sample.py") == 0
    assert one.stat().st_size > 1000


def test_a_picture_of_conditions_needs_some(tmp_path, capfd):
    train_here([*QUICK, "iterations=2", f"output_dir={tmp_path}", "run_name=run"])
    assert command(["what=conditions", f"output_dir={tmp_path}"], "sample.py") == 2
    assert "what=conditions needs a run whose conditions" in capfd.readouterr().err


def test_without_a_condition_it_is_sngan(tmp_path):
    settings = {"gan=sngan": SNGAN, "gan=latent_conditioned": LatentConditioned}
    states = []
    for gan, kind in settings.items():
        none = ["representation=none", "conditioner=none"] if "latent" in gan else []
        folder = tmp_path / kind.__name__
        train_here([gan, *none, *FEW, *QUICK, f"output_dir={folder}", "run_name=run"])
        states.append(checkpoint_file.load(folder / "run")["game"])
    assert equal(*states)
