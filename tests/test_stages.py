"""What a method needs is made once, found again by its fingerprint, and never trusted blindly."""

import pytest
import torch
from omegaconf import OmegaConf
from train_cli import QUICK, train_here

from saddlepoint.datamodules.avatars import Avatars
from saddlepoint.datamodules.fields import Label
from saddlepoint.datamodules.relabelled import Joined
from saddlepoint.errors import UserError
from saddlepoint.extractors.avatar_classifier import AvatarClassifier
from saddlepoint.extractors.extractor import hash_of_weights
from saddlepoint.fingerprint import fingerprint
from saddlepoint.randomness import keyed_generator
from saddlepoint.runs import artifact
from saddlepoint.runs.artifact import Artifact
from saddlepoint.runs.feature_bank import FeatureBank
from saddlepoint.runs.stages import Stage, after_stages
from saddlepoint.runs.trained_run import TrainedRun

#: The stages of these tests are not the project's own.
TRUSTED = [__name__]
TRUST = f"trust=[{__name__}]"


class Clusters(Stage):
    """The nearest of k means of the bank's features becomes the class of an item."""

    made = 0

    def __init__(self, k, rounds=3):
        self.k, self.rounds = k, rounds

    def fingerprint(self, data, earlier):
        return fingerprint(
            {"k": self.k, "rounds": self.rounds, "bank": earlier["bank"].fingerprint}
        )

    def make(self, data, earlier, progress):
        Clusters.made += 1
        features = earlier["bank"].content["features"]
        generator = keyed_generator("clusters", self.k)
        means = features[torch.randperm(len(features), generator=generator)[: self.k]]
        for done in range(self.rounds):
            labels = torch.cdist(features, means).argmin(1)
            sums = torch.zeros_like(means).index_add_(0, labels, features)
            means = sums / labels.bincount(minlength=self.k).clamp(min=1)[:, None]
            progress("means", done + 1, self.rounds)
        return {"labels": torch.cdist(features, means).argmin(1), "k": self.k}

    def join(self, data, artifact):
        labels, k = artifact.content["labels"], artifact.content["k"]
        return Joined(data, label=Label(labels, [f"cluster {i}" for i in range(k)]))


class Nothing(Stage):
    def fingerprint(self, data, earlier):
        return fingerprint({"nothing": 1})

    def make(self, data, earlier, progress):
        return {"value": torch.zeros(()), "names": ["a", "b"], "none": None, "flag": True}


BANK = "+stages.bank={_target_: saddlepoint.runs.feature_bank.FeatureBank,"
BANK += " extractor: avatar-classifier}"


def words(k, folder, *more):
    clusters = f"+stages.clusters={{_target_: test_stages.Clusters, k: {k}}}"
    method = ["gan=cgan_pd", "network=lite", *QUICK, "iterations=2"]
    return [*method, BANK, clusters, f"output_dir={folder}", *more]


def artifacts(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "artifacts").glob("*.pt")}


def test_a_method_of_three_stages_trains_and_finds_them_again(tmp_path, capsys):
    Clusters.made = 0
    train_here(words(4, tmp_path, "run_name=a"))
    first, said = artifacts(tmp_path), capsys.readouterr().out
    assert sorted(name.split("-")[0] for name in first) == ["bank", "clusters"]
    assert "stage bank: made in" in said and "stage clusters: made in" in said
    run = TrainedRun.find(tmp_path / "a", tmp_path, TRUSTED)
    assert run.content["data"]["classes"] == [f"cluster {i}" for i in range(4)]
    assert run.game().condition.num_classes == 4

    train_here(words(4, tmp_path, "run_name=b", "seed=1"))  # not the run's seed, but the stage's
    assert artifacts(tmp_path) == first and Clusters.made == 1
    said = capsys.readouterr().out
    assert "stage bank: found in" in said and "stage clusters: found in" in said

    train_here(words(5, tmp_path, "run_name=c"))  # a bank does not depend on k
    assert Clusters.made == 2
    now = artifacts(tmp_path)
    assert first.items() < now.items() and len(now) == 3


def test_a_resumed_run_and_its_scores_see_what_the_stages_made(tmp_path):
    Clusters.made = 0
    train_here(words(4, tmp_path, "run_name=run"))
    train_here([f"ckpt={tmp_path}/run", TRUST, "iterations=3", "allow_changes=true"])
    run = TrainedRun.find("last", tmp_path, TRUSTED)
    assert run.iteration == 3 and Clusters.made == 1
    data = run.data()
    (items,) = data.real_batches(100, range(100))
    assert data.spec.num_classes == 4 and len(items.label.unique()) > 1
    (path,) = (tmp_path / "artifacts").glob("clusters-*.pt")
    labels = torch.load(path, weights_only=True)["content"]["labels"]
    assert torch.equal(items.label, labels[:100])
    moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name} moved"))
    try:
        assert TrainedRun.find("last", moved, TRUSTED).data().spec == data.spec
        assert Clusters.made == 1
    finally:
        moved.rename(tmp_path)


def test_another_stage_alters_the_training(tmp_path):
    train_here(words(4, tmp_path, "run_name=run"))
    with pytest.raises(UserError, match=r"stages\.clusters\.k \(4 -> 5\)"):
        train_here([*words(5, tmp_path), TRUST, f"ckpt={tmp_path}/run"])


def test_a_bank_has_the_features_of_every_item_by_its_index():
    data, bank = Avatars(), FeatureBank("avatar-classifier", batch_size=1000, device="cpu")
    told = []
    content = bank.make(data, {}, lambda *news: told.append(news))
    assert content["features"].shape[0] == data.spec.num_items
    assert told[-1] == ("features", 6144, 6144)
    extractor = AvatarClassifier()
    extractor.load()
    for index in (0, 999, 1000, 6143):
        (items,) = data.real_batches(1, [index])
        with torch.no_grad():
            (features,) = extractor(items.image).features
        # Sums in another order differ by 1e-5 or so, the features of another face by 1.
        assert (content["features"][index] - features).norm() < 1e-2 * features.norm()


def test_a_bank_may_be_what_a_generator_is_asked_for(tmp_path):
    bank = BANK.replace("}", ", serve: true}")
    words = ["gan=sngan", "network=lite", "condition=vectors", bank, *QUICK, "iterations=2"]
    train_here([*words, f"output_dir={tmp_path}", "run_name=run"])
    run = TrainedRun.find(tmp_path / "run", tmp_path)
    assert run.game().condition.kind == "vectors"
    (items,) = run.data().real_batches(3, range(3))
    (path,) = (tmp_path / "artifacts").glob("bank-*.pt")
    features = torch.load(path, weights_only=True)["content"]["features"]
    assert torch.equal(items.vector, features[:3])


def test_a_bank_depends_on_images_and_extractor_and_on_nothing_else():
    data = Avatars()
    bank = FeatureBank("avatar-classifier", device="cpu")
    fingerprint = bank.fingerprint(data, {})
    assert FeatureBank("avatar-classifier", batch_size=7).fingerprint(data, {}) == fingerprint
    assert FeatureBank("raw").fingerprint(data, {}) != fingerprint
    with torch.no_grad():
        next(bank.extractor.parameters()).mul_(2)
    bank.extractor.weights_hash = hash_of_weights(bank.extractor.network)
    assert bank.fingerprint(data, {}) != fingerprint


# The file ----------------------------------------------------------------------------------------

CONTENT = {"features": torch.arange(6.0).view(2, 3), "names": ["a", "b"], "k": 3, "none": None}


@pytest.fixture
def written(tmp_path):
    path = artifact.path_of(tmp_path, "bank", "abc")
    artifact.write(path, Artifact("bank", "abc", CONTENT))
    return path


def test_an_artifact_is_read_as_it_was_written(written):
    found = artifact.read(written, "bank", "abc")
    assert torch.equal(found.content.pop("features"), CONTENT["features"])
    assert found.content == {k: v for k, v in CONTENT.items() if k != "features"}
    assert artifact.read(written.with_name("other.pt"), "bank", "abc") is None


def test_flipped_bits_and_torn_files_are_not_trusted(written, caplog):
    whole = written.read_bytes()
    generator = keyed_generator("damage")
    places = torch.randint(len(whole), (60,), generator=generator).tolist()
    harmless = 0
    for place in places:
        written.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = artifact.read(written, "bank", "abc")
        if found is not None:  # a bit of the archive's padding, dates and names: no content
            harmless += 1
            assert artifact.sha256_of(found.content) == artifact.sha256_of(CONTENT)
    assert harmless < len(places)
    for length in range(0, len(whole) - 1, 97):
        written.write_bytes(whole[:length])
        assert artifact.read(written, "bank", "abc") is None
    assert "is damaged and is made anew" in caplog.text


def test_another_artifact_under_this_name_is_not_taken(written):
    assert artifact.read(written, "bank", "abd") is None
    assert artifact.read(written, "clusters", "abc") is None
    stored = torch.load(written, weights_only=True)
    stored["content"]["k"] = 4
    torch.save(stored, written)
    assert artifact.read(written, "bank", "abc") is None


def test_no_code_in_an_artifact_is_run(written):
    class Code:
        def __reduce__(self):
            return (print, ("code from an artifact was run",))

    stored = torch.load(written, weights_only=True)
    torch.save({**stored, "content": {"a": Code()}}, written)
    assert artifact.read(written, "bank", "abc") is None


def test_the_hash_tells_values_types_and_shapes_apart():
    contents = [
        {"a": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3, dtype=torch.float64)},
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(2, 3), "b": None},
        *({"a": value} for value in (0, 0.0, False, "0", None, [], {}, [0], ["0"], (0,))),
        {"a": torch.zeros(2, 3, dtype=torch.bfloat16)},
    ]
    assert len({artifact.sha256_of(content) for content in contents}) == len(contents)
    with pytest.raises(TypeError, match="plain values"):
        artifact.sha256_of({"a": object()})


def test_a_damaged_artifact_is_made_anew(tmp_path):
    settings = OmegaConf.create({"nothing": {"_target_": "test_stages.Nothing"}})
    after_stages(settings, None, tmp_path)
    (path,) = tmp_path.glob("*.pt")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    said = []
    after_stages(settings, None, tmp_path, said.append)
    after_stages(settings, None, tmp_path, said.append)
    assert ["made" in said[0], "found" in said[1]] == [True, True]


def test_what_is_no_stage_is_refused(tmp_path):
    settings = OmegaConf.create({"a": {"_target_": "pathlib.Path"}})
    with pytest.raises(UserError, match="stages.a is no stage"):
        after_stages(settings, None, tmp_path)
