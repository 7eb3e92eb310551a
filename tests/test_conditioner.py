"""From a representation to clusters to conditions: what is made anew, and what it means."""

import pytest
import torch
from conditioned_faces import SMALL, TRUST, conditioner, game_on, representation
from few_faces import COUNT, FEW, FewFaces
from omegaconf import OmegaConf
from train_cli import QUICK, command, equal, train_here

from saddlepoint.datamodules.fields import Label
from saddlepoint.datamodules.relabelled import Joined
from saddlepoint.errors import UserError
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.fakes import Generated, GeneratorFakes
from saddlepoint.gans import LatentConditioned
from saddlepoint.items import Items
from saddlepoint.randomness import Draws, keyed_generator
from saddlepoint.representations.simclr import SimCLR
from saddlepoint.runs import artifact
from saddlepoint.runs.conditioner import Conditioner
from saddlepoint.runs.learned_representation import LearnedRepresentation
from saddlepoint.runs.stages import after_stages
from saddlepoint.runs.trained_run import TrainedRun

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
