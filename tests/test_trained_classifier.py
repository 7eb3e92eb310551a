import errno
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from train_cli import ROOT, command, composed

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.fields import Attributes, Image, Label
from saddlepoint.datamodules.pixels import to_float
from saddlepoint.datamodules.source import Source
from saddlepoint.datamodules.stacked_mnist import StackedMNIST
from saddlepoint.datamodules.toys import Gaussians8
from saddlepoint.errors import UserError
from saddlepoint.evaluation.metrics.metric import Batch
from saddlepoint.evaluation.metrics.modes import Modes
from saddlepoint.extractors import trained_classifier
from saddlepoint.extractors.classifier_stage import find_or_train
from saddlepoint.extractors.classifier_training import Lesson, TrainingOptions, augmented, shifted
from saddlepoint.extractors.small_resnet import SmallResNet, StackedChannels
from saddlepoint.extractors.trained_classifier import TrainedClassifier, read_classifier
from saddlepoint.randomness import keyed_generator
from saddlepoint.runs import train_extractor

#: Digits 0 to 9 in 3 x 5 squares, row by row.
FONT = (
    *("111101101101111", "010110010010111", "111001111100111", "111001111001111"),
    *("101101111001001", "111100111001111", "111100111101111", "111001010010010"),
    *("111101111101111", "111101111001111"),
)


def drawn_digits(count, seed):
    """Digits (N, 28, 28) uint8 at random places with random noise, and what they are."""
    generator = keyed_generator("digits", seed)
    labels = torch.arange(count) % 10
    glyphs = torch.tensor([[int(bit) for bit in glyph] for glyph in FONT]).view(10, 5, 3)
    large = glyphs.repeat_interleave(4, 1).repeat_interleave(4, 2)[labels]
    images = 40 * torch.rand(count, 28, 28, generator=generator)
    for image, glyph in zip(images, large, strict=True):
        top, left = torch.randint(2, 6, (2,), generator=generator).tolist()
        image[top : top + 20, left + 5 : left + 17] += 180 * glyph
    return images.to(torch.uint8), labels.to(torch.uint8)


def write_idx(path, array):
    header = bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(header + array.numpy().tobytes())


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 800), ("t10k", 10)):
        images, labels = drawn_digits(count, count)
        write_idx(raw / f"{part}-images-idx3-ubyte", images)
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels)
    return root


QUICK = ["width=4", "epochs=1", "batch_size=32"]


class Squares(DataModule):
    """Images with a bright square: its colour is the class, its place and its size attributes."""

    def __init__(self, count=240, classes=("red", "green", "blue"), attributes=True, **settings):
        super().__init__("squares", **settings)
        self.count, self.class_names, self.has_attributes = count, classes, attributes

    def load(self):
        number = torch.arange(self.count)
        labels, attributes = number % 3, torch.stack([number // 3 % 2, number // 6 % 2], 1)
        images = torch.randint(
            60, (self.count, 3, 16, 16), generator=keyed_generator("noise"), dtype=torch.uint8
        )
        for image, label, (low, large) in zip(images, labels, attributes, strict=True):
            top, side = 2 + 6 * low, 3 + 3 * large
            image[label, top : top + side, 5 : 5 + side] = 250
        named = Attributes(attributes.to(torch.uint8), ("low", "large"))
        return Source(image=Image(images)).replaced(
            label=Label(labels, self.class_names) if self.class_names else None,
            attributes=named if self.has_attributes else None,
        )


def trained(output, *overrides, data=None):
    """Train on `Squares`, or on what ``data`` says; returns the file."""
    words = [f"output={output}", *overrides]
    if data is None:
        words += ["datamodule._target_=test_trained_classifier.Squares"]
    return train_extractor.train_extractor(composed([*words, *(data or [])], "train_extractor"))


@pytest.fixture(scope="module")
def squares_file(tmp_path_factory):
    return trained(
        tmp_path_factory.mktemp("squares") / "squares.pt",
        *("width=4", "epochs=12", "batch_size=32", "learning_rate=0.02", "flip=false"),
    )


@pytest.fixture(scope="module")
def digits_file(mnist, tmp_path_factory):
    return trained(
        tmp_path_factory.mktemp("digits") / "digits.pt",
        *("width=4", "epochs=4", "batch_size=32", "learning_rate=0.02"),
        data=["datamodule=stacked_mnist", f"data_dir={mnist}", "datamodule.num_items=1200"],
    )


# What is learnt ----------------------------------------------------------------------------------


def test_classes_and_attributes_are_learnt(squares_file):
    content = read_classifier(squares_file)
    assert content["data"] == {
        "name": "squares",
        "digest": Squares().spec.digest,
        "classes": ["red", "green", "blue"],
        "attributes": ["low", "large"],
    }
    assert set(content["accuracy"]) == {"class", "low", "large"}
    assert min(content["accuracy"].values()) > 0.9
    assert content["training"]["epochs"] == 12 and content["training"]["held_out"] == 0.1

    extractor = TrainedClassifier(squares_file)
    extractor.check()
    assert extractor.gives_logits() and extractor.name == "classifier-squares"
    extractor.load()
    assert extractor.has_logits and extractor.weights_hash == content["weights_hash"]
    assert extractor.score_name("FID") == "FD/classifier-squares"
    source = Squares().source
    features, logits = extractor(source.image.values)
    assert features.shape == (240, 32) and logits.shape == (240, 3)
    assert (logits.argmax(1) == source.label.values).float().mean() > 0.9
    torch.testing.assert_close(extractor(source.image.values[7:8]).features, features[7:8])


def test_recorded_accuracy_is_that_of_images_never_trained_on(squares_file):
    options = TrainingOptions(**read_classifier(squares_file)["training"])
    lesson = Lesson(Squares(), options)
    together = torch.cat([lesson.test, lesson.training])
    assert torch.equal(together.sort().values, torch.arange(240)) and len(lesson.test) == 24
    extractor = TrainedClassifier(squares_file)
    extractor.load()
    source = Squares().source
    told = extractor.network(to_float(source.image.values[lesson.test]))
    right = {"class": told.classes.argmax(1) == source.label.values[lesson.test]}
    hits = (told.attributes > 0) == (source.attributes.values[lesson.test] > 0)
    right |= {"low": hits[:, 0], "large": hits[:, 1]}
    expected = {task: hit.float().mean().item() for task, hit in right.items()}
    assert read_classifier(squares_file)["accuracy"] == pytest.approx(expected)


def test_stacked_digits_are_told_apart_channel_by_channel(mnist, digits_file):
    extractor = TrainedClassifier(digits_file)
    extractor.load()
    data = StackedMNIST(mnist, num_items=1200)
    images, labels = data.source.image.values[:400], data.source.label.values[:400]
    features, logits = extractor(images)
    assert features.shape == (400, 3 * 32) and logits.shape == (400, 1000)
    assert (logits.argmax(1) == labels).float().mean() > 0.9
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(400))
    single = [extractor.network.network(to_float(images[:, c : c + 1])) for c in range(3)]
    torch.testing.assert_close(features, torch.cat([s.features for s in single], 1))
    for number in (0, 7, 123, 890):
        digits = map(int, f"{number:03d}")
        joint = sum(s.classes.log_softmax(1)[:, d] for s, d in zip(single, digits, strict=True))
        torch.testing.assert_close(logits[:, number], joint)

    content = read_classifier(digits_file)
    assert content["architecture"]["num_classes"] == 10 and len(content["data"]["classes"]) == 1000
    assert content["data"]["digest"] == data.spec.digest
    assert content["accuracy"]["class"] > 0.8

    metric = Modes()
    metric.check(data, 10, 1200)
    collector = metric.of_fakes(1200, torch.device("cpu"))["samples of modes"]
    for part in data.source.image.values.split(300):
        collector.update(Batch(*extractor(part), torch.zeros(len(part)), 0))
    found = metric.compute({}, {"samples of modes": collector})
    assert abs(found["modes"] - len(data.source.label.values.unique())) < 30


def test_digits_that_are_tested_are_not_among_those_learnt(mnist):
    options = TrainingOptions(**read_options(composed([], "train_extractor")))
    lesson = Lesson(StackedMNIST(mnist, num_items=50), options)
    assert lesson.stacked and len(lesson.test) == 80 and len(lesson.training) == 720
    held_out = lesson.source.image.values[lesson.test].squeeze(1)
    seen = 0
    for images, labels, _ in lesson.test_batches(30):
        seen += len(images)
        for image, label in zip(images, labels.tolist(), strict=True):
            for channel, digit in zip(image, f"{label:03d}", strict=True):
                (which,) = (held_out == channel).all(dim=(1, 2)).nonzero()
                assert lesson.source.label.values[lesson.test][which] == int(digit)
    assert seen == 80


def read_options(config):
    return {name: config[name] for name in TrainingOptions.__dataclass_fields__}


def test_small_sets_are_shown_more_often_than_large_ones():
    options = TrainingOptions(**read_options(composed([], "train_extractor")))
    lesson = Lesson(Squares(), options)
    for count, epochs in ((100, 40), (45_000, 10), (54_000, 8), (1_000_000, 1)):
        lesson.training = torch.arange(count)
        assert lesson.usual_epochs() == epochs


def test_training_is_a_function_of_its_settings(tmp_path):
    hashes = [
        read_classifier(trained(tmp_path / f"{i}.pt", *QUICK, f"seed={seed}"))["weights_hash"]
        for i, seed in enumerate((0, 0, 1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


# The network -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 32, 32), (3, 48, 32), (1, 64, 64)], ids=str
)
def test_network_takes_small_images_of_any_size(shape):
    network = SmallResNet(shape, num_classes=5, num_attributes=2, width=4).eval()
    images = torch.rand(3, *shape) * 2 - 1
    features, classes, attributes = network(images)
    assert (features.shape, classes.shape, attributes.shape) == ((3, 32), (3, 5), (3, 2))
    assert features.min() >= 0
    last_maps = network.trunk[:-2](images).shape[2:]
    assert max(last_maps) <= 6
    torch.testing.assert_close(network(images[1:2]).features, features[1:2])


def test_network_without_classes_or_attributes():
    assert SmallResNet((1, 16, 16), 0, 3, width=4)(torch.zeros(2, 1, 16, 16)).classes is None
    assert SmallResNet((1, 16, 16), 3, 0, width=4)(torch.zeros(2, 1, 16, 16)).attributes is None


def test_joint_classes_count_like_digits():
    network = StackedChannels(SmallResNet((1, 8, 8), 3, width=4)).eval()
    images = torch.randn(4, 2, 8, 8)
    assert network(images).classes.shape == (4, 9)
    first, second = (network.network(images[:, c : c + 1]).classes.log_softmax(1) for c in (0, 1))
    torch.testing.assert_close(network(images).classes[:, 2 * 3 + 1], first[:, 2] + second[:, 1])


# Augmentation ------------------------------------------------------------------------------------


def test_each_image_is_shifted_by_itself():
    images = torch.rand(30, 2, 7, 9)
    moved = shifted(images, 2, keyed_generator("shift"))
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    corners = set()
    for image, result in zip(padded, moved, strict=True):
        places = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.equal(image[:, top : top + 7, left : left + 9], result)
        ]
        assert len(places) == 1
        corners.add(places[0])
    assert len(corners) > 10


@pytest.mark.parametrize(
    ("flip", "channels", "flipped"),
    [(None, 3, True), (None, 1, False), (True, 1, True), (False, 3, False)],
)
def test_only_images_in_colour_are_mirrored_unless_told(flip, channels, flipped):
    settings = read_options(composed(["shift=0"], "train_extractor")) | {"flip": flip}
    images = torch.rand(40, channels, 8, 8)
    result = augmented(images, TrainingOptions(**settings), keyed_generator("flips"))
    mirrored = (result == images.flip(-1)).all(dim=(1, 2, 3))
    assert ((result == images).all(dim=(1, 2, 3)) | mirrored).all()
    assert (5 < mirrored.sum() < 35) if flipped else not mirrored.any()


# The file ----------------------------------------------------------------------------------------


def test_loading_draws_no_random_numbers(squares_file):
    before = torch.get_rng_state()
    extractor = TrainedClassifier(squares_file)
    extractor.load()
    extractor.load()
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(p.requires_grad or p.is_meta for p in extractor.parameters())
    assert not extractor.network.training


def test_images_of_another_shape_are_refused(squares_file):
    extractor = TrainedClassifier(squares_file)
    extractor.load()
    for shape in ((1, 16, 16), (3, 32, 32), (2,)):
        with pytest.raises(UserError, match=r"takes images of shape \(3, 16, 16\)"):
            extractor(torch.zeros(2, *shape, dtype=torch.uint8))


def test_torn_missing_and_foreign_files_are_refused(squares_file, tmp_path):
    with pytest.raises(UserError, match="There is no classifier"):
        TrainedClassifier(tmp_path / "nothing.pt").check()
    torn = tmp_path / "torn.pt"
    torn.write_bytes(squares_file.read_bytes()[:-500])
    with pytest.raises(UserError, match="damaged"):
        TrainedClassifier(torn).check()
    foreign = tmp_path / "foreign.pt"
    for content in ({"weight": torch.zeros(3)}, [1, 2]):
        torch.save(content, foreign)
        with pytest.raises(UserError, match="not a classifier of Saddlepoint"):
            TrainedClassifier(foreign).check()
    torch.save(Path("x"), foreign)  # would run code
    with pytest.raises(UserError, match="not a classifier of Saddlepoint"):
        TrainedClassifier(foreign).check()
    foreign.write_text("notes")
    with pytest.raises(UserError, match="not a classifier of Saddlepoint"):
        TrainedClassifier(foreign).check()
    later = torch.load(squares_file, weights_only=True) | {"version": 99}
    torch.save(later, foreign)
    with pytest.raises(UserError, match="format 99"):
        TrainedClassifier(foreign).check()


def test_weights_that_fail_their_hash_are_refused(squares_file, tmp_path):
    content = torch.load(squares_file, weights_only=True)
    content["state"]["classes.bias"][0] += 1
    torch.save(content, tmp_path / "changed.pt")
    with pytest.raises(UserError, match="damaged"):
        TrainedClassifier(tmp_path / "changed.pt").load()


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(content, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trained_classifier.torch, "save", full)
    with pytest.raises(UserError, match="the disk is full"):
        trained(tmp_path / "new.pt", *QUICK)
    assert not list(tmp_path.iterdir())


# Found or trained --------------------------------------------------------------------------------

FEW = TrainingOptions(width=4, epochs=2, batch_size=32)


def test_a_classifier_is_trained_once_and_found_again(tmp_path):
    told = []
    path = find_or_train(Squares(), FEW, tmp_path, lambda *about: told.append(about))
    assert told[-1] == ("training a classifier", 12, 12) and len(told) == 12
    content = read_classifier(path)
    assert path.parent == tmp_path and content["fingerprint"] in path.name
    assert content["training"]["epochs"] == 2
    before = path.read_bytes()
    again = find_or_train(Squares(), FEW, tmp_path, lambda *_: pytest.fail("trained again"))
    assert again == path and path.read_bytes() == before
    extractor = TrainedClassifier(path)
    extractor.load()
    assert extractor.gives_logits() and extractor.name == "classifier-squares"


def test_whatever_a_classifier_depends_on_makes_another_file(tmp_path):
    first = find_or_train(Squares(), FEW, tmp_path)
    others = [
        find_or_train(Squares(count=246), FEW, tmp_path),
        find_or_train(Squares(attributes=False), FEW, tmp_path),
        find_or_train(Squares(classes=("red", "green", "violet")), FEW, tmp_path),
        find_or_train(Squares(), replace(FEW, seed=1), tmp_path),
        find_or_train(Squares(), replace(FEW, epochs=1), tmp_path),
    ]
    assert len({first, *others}) == 6
    options = replace(FEW, epochs=None)
    usual = Lesson(Squares(), options).usual_epochs()
    assert find_or_train(Squares(), options, tmp_path) == find_or_train(
        Squares(), replace(FEW, epochs=usual), tmp_path
    )


@pytest.mark.parametrize("damage", ["torn", "changed", "another's"])
def test_a_file_that_is_not_what_its_name_says_is_replaced(tmp_path, damage, caplog):
    path = find_or_train(Squares(), FEW, tmp_path)
    whole = read_classifier(path)["weights_hash"]
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-500])
    elif damage == "changed":
        content = torch.load(path, weights_only=True)
        content["state"]["classes.bias"][0] += 1
        torch.save(content, path)
    else:
        other = find_or_train(Squares(), replace(FEW, seed=1), tmp_path)
        path.write_bytes(other.read_bytes())
    assert find_or_train(Squares(), FEW, tmp_path) == path
    assert read_classifier(path)["weights_hash"] == whole
    assert damage == "another's" or "damaged" in caplog.text


def test_options_are_by_default_those_of_the_command():
    assert TrainingOptions() == TrainingOptions(**read_options(composed([], "train_extractor")))


# The command -------------------------------------------------------------------------------------


def test_command_says_where_the_file_lies_and_how_good_it_is(mnist, tmp_path, capfd, monkeypatch):
    words = ["datamodule=stacked_mnist", f"data_dir={mnist}", "datamodule.num_items=50", *QUICK]
    output = tmp_path / "new" / "it.pt"
    assert command([*words, f"output={output}"], "train_extractor.py") == 0
    printed = capfd.readouterr().out
    accuracy = read_classifier(output)["accuracy"]["class"]
    assert str(output) in printed and f"{accuracy:.2%}" in printed and "epoch 1/1" in printed
    # A classifier that scores refer to is not overwritten.
    assert command([*words, f"output={output}"], "train_extractor.py") == 2
    assert "is there already" in capfd.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert command(words, "train_extractor.py") == 0
    assert TrainedClassifier("classifiers/stacked_mnist.pt").name == "classifier-stacked_mnist"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "conf/datamodule").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_data_set_composes(path):
    config = composed([f"datamodule={path.stem}"], "train_extractor")
    assert OmegaConf.to_container(config, resolve=True)["datamodule"]
    TrainingOptions(**read_options(config))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["datamodule=gaussians8"], "items of shape (2,)"),
        (["epochs=0"], "epochs=0 is not to be had"),
        (["held_out=0.7"], "held_out=0.7"),
        (["held_out=0"], "do not suffice"),
        (["output=it.pth"], "does not end in .pt"),
        ([f"output={ROOT}/README.md/it.pt"], "README.md/it.pt cannot be written"),
        (
            ["datamodule=cifar10", "data_dir=nowhere"],
            "saddlepoint download cifar10",
        ),
        (["datamodule=cifar"], "did you mean 'cifar10"),
    ],
    ids=str,
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(words, sentence, tmp_path, capfd):
    assert command([f"output={tmp_path}/it.pt", *words], "train_extractor.py") == 2
    errors = capfd.readouterr().err
    assert sentence in errors and errors.startswith("error: ") and errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_data_with_nothing_to_tell_are_refused():
    options = TrainingOptions(**read_options(composed([], "train_extractor")))
    for data in (Squares(classes=(), attributes=False), Squares(classes=("x",), attributes=False)):
        with pytest.raises(UserError, match="neither classes nor attributes"):
            Lesson(data, options)
    assert Lesson(Squares(classes=()), options).architecture(4)["num_classes"] == 0
    with pytest.raises(UserError, match="items of shape"):
        Lesson(Gaussians8(), options)
    with pytest.raises(UserError, match="9 images of squares do not suffice"):
        Lesson(Squares(count=9), options)
