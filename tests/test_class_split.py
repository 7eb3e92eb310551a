"""Classes divided into those to train on and those to meet later, and episodes of both."""

import itertools
from functools import partial

import pytest
import torch
from train_cli import QUICK, equal, train_here

from saddlepoint.datamodules import fields
from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.class_split import ClassSplit
from saddlepoint.datamodules.episodes import ByClass, EpisodicOrder, TaskOrder, without_repetition
from saddlepoint.datamodules.order import Plan
from saddlepoint.datamodules.source import Source
from saddlepoint.errors import UserError
from saddlepoint.gans.episodes import POSITIONS_PER_EPISODE, Episodes
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.randomness import keyed_generator

COUNT, SIDE = 120, 4
NAMES = ("red", "green-old", "green-new", "blue", "grey")


class Tones(DataModule):
    """Images whose pixels are the number of the item; its class is that number modulo 5."""

    def __init__(self, count=COUNT, **settings):
        super().__init__("tones", **{"held_out": 0.25, "num_workers": 0, **settings})
        self.count = count

    def load(self):
        number = torch.arange(self.count, dtype=torch.uint8)
        images = number.view(-1, 1, 1, 1).repeat(1, 3, SIDE, SIDE)
        images[:, 0, :, 0] = 200  # left of the middle: tells whether an image is mirrored
        label = fields.Label(torch.arange(self.count) % len(NAMES), NAMES)
        hair = fields.Mask((number % 2).view(-1, 1, 1, 1).expand(-1, 1, SIDE, SIDE).contiguous())
        return Source(image=fields.Image(images), label=label, hair=hair)


def split(settings=None, **options):
    return ClassSplit(Tones(**(settings or {})), **{"targets": ["green-old", "grey"], **options})


def numbers(images):
    """Which item of `Tones` each image (..., 3, 4, 4) in [-1, 1] is."""
    return ((images[..., 1, 1, 1] + 1) * 127.5).round().long()


def names_of(images):
    return [NAMES[number % len(NAMES)] for number in numbers(images).flatten()]


def blocks(data, batch_size=8, iterations=6, batches=1, seed=0, start=0):
    data.plan(seed, batch_size, batches, iterations, start)
    loader = data.train_dataloader()
    return [data.on_after_batch_transfer(block, 0)["reals"] for block in loader]


# Draws ------------------------------------------------------------------------------------------


def test_draws_without_repetition_are_all_equally_likely():
    counts, shots = torch.tensor([3, 4, 4]), 2
    chances = torch.rand(30_000, 3, shots, generator=keyed_generator(0), dtype=torch.float64)
    drawn = torch.stack([without_repetition(c, counts) for c in chances.split(3000)[0]])
    for row, count in enumerate(counts.tolist()):
        pairs = [tuple(pair) for pair in drawn[:, row].tolist()]
        possible = set(itertools.permutations(range(count), shots))
        assert set(pairs) == possible
        # Each of 6 or 12 pairs in 3,000 draws: five standard deviations of a binomial count.
        share = 1 / len(possible)
        deviation = 5 * (3000 * share * (1 - share)) ** 0.5
        assert all(abs(pairs.count(pair) - 3000 * share) < deviation for pair in possible)


def test_fewer_draws_are_the_first_of_more():
    chances = torch.rand(50, 20, generator=keyed_generator(1))
    drawn = without_repetition(chances, torch.full((50,), 20))
    assert (drawn.sort(1).values == torch.arange(20)).all()
    assert torch.equal(without_repetition(chances[:, :5], torch.full((50,), 20)), drawn[:, :5])
    assert torch.equal(
        without_repetition(torch.ones(1, 3), torch.tensor([3])), drawn.new([[2, 1, 0]])
    )


def test_another_class_is_drawn_as_often_as_it_has_items():
    labels = torch.tensor([0] * 2 + [1] * 5 + [2] * 3)[torch.randperm(10)]
    items = ByClass(labels, 3)
    steps = (torch.arange(56) + 0.5) / 56  # a multiple of the 8, 5 and 7 items of other classes
    for own, expected in ((0, [0, 35, 21]), (2, [16, 40, 0])):
        drawn = items.other_class(torch.full((56,), own), steps)
        assert torch.bincount(drawn, minlength=3).tolist() == expected
    others = items.others(torch.tensor(1), torch.rand(5))
    assert len(set(others.tolist())) == 5 and (labels[others] != 1).all()


# The split --------------------------------------------------------------------------------------


def test_nothing_of_a_target_class_is_trained_on():
    data = split({"flip": True}, shots=2)
    assert data.spec.classes == data.source_classes == ("red", "green-new", "blue")
    assert data.target_classes == ("green-old", "grey")
    seen = blocks(data, iterations=40)
    names = {name for reals in seen for key in ("image", "shots") for name in names_of(reals[key])}
    assert names == set(data.source_classes)
    # Of source classes, every training image and no held-out one.
    items = {int(number) for reals in seen for number in numbers(reals.image)}
    whole = Tones()
    trained = numbers(whole.items_at(torch.arange(whole.spec.num_items)).image).tolist()
    assert items == {n for n in trained if NAMES[n % 5] in data.source_classes}


def test_support_contents_and_references_share_no_image():
    data = split()
    everything = {
        "training": numbers(data.items_at(range(data.spec.num_items)).image),
        "support": numbers(data.support.items_at(range(data.support.spec.num_items)).image),
        "held out": numbers(data.held_out.items_at(range(data.held_out.spec.num_items)).image),
    }
    found = torch.cat(list(everything.values())).tolist()
    assert sorted(found) == list(range(COUNT))
    assert {n % 5 for n in everything["support"].tolist()} == {1, 4}
    assert {n % 5 for n in everything["held out"].tolist()} == set(range(5))
    contents = data.contents.items_at(range(data.contents.spec.num_items))
    assert set(names_of(contents.image)) == set(data.source_classes)
    assert {int(n) for n in numbers(contents.image)} < {int(n) for n in everything["held out"]}


def test_a_set_that_holds_nothing_out_is_divided_here():
    data = split({"held_out": 0.0}, held_out=0.25)
    assert data.held_out.spec.num_items == 30
    # Whoever judges all classes learns from the same images, and from none that are held out.
    whole = data.whole
    assert whole.spec.classes == NAMES and whole.spec.num_items == 90
    assert whole.held_out.spec.digest == data.held_out.spec.digest
    assert split().whole.spec.digest == whole.spec.digest
    assert data.spec.digest == split().spec.digest


def test_scores_know_what_examples_are_drawn_from():
    digests = [split(targets=[name]).held_out.spec for name in ("grey", "blue")]
    assert digests[0].digest == digests[1].digest
    assert digests[0].annotations["target"] != digests[1].annotations["target"]
    assert digests[0].annotations["target"] == split(targets=["grey"]).support.spec.digest


def test_labels_count_sources_first_and_their_names_agree_everywhere():
    data = split()
    for part in (data.training, data.support, data.held_out, data.contents):
        items = part.items_at(range(part.spec.num_items))
        assert [part.spec.classes[label] for label in items.label] == names_of(items.image)
    assert data.held_out.spec.classes == data.source_classes + data.target_classes
    reals = blocks(data)[0]
    assert [data.spec.classes[label] for label in reals.target] == names_of(reals.shots)


def test_targets_by_part_of_a_name_by_file_and_by_share(tmp_path):
    assert split(targets=["green"]).target_classes == ("green-old", "green-new")
    file = tmp_path / "targets.txt"
    file.write_text("blue\n\n grey\n")
    assert split(targets=None, file=file).target_classes == ("blue", "grey")
    drawn = split(targets=None, share=0.4).target_classes
    assert len(drawn) == 2 and drawn == split(targets=None, share=0.4).target_classes


@pytest.mark.parametrize(
    ("settings", "options", "sentence"),
    [
        ({}, {"targets": ["gray"]}, "no class gray: did you mean grey"),
        ({}, {"targets": list(NAMES[1:])}, "leave at least one, and two others"),
        ({}, {"targets": None, "share": 0.01}, "leave at least one"),
        ({}, {"file": "nowhere.txt"}, "given twice"),
        ({}, {"targets": None, "file": "nowhere.txt"}, "cannot be read"),
        ({"held_out": 0.0}, {"held_out": 0.0}, r"datamodule\.held_out=0\.0 divides 120 items"),
        ({}, {"shots": 30}, "an episode takes 30"),
    ],
)
def test_what_cannot_be_split_is_refused(settings, options, sentence):
    with pytest.raises(UserError, match=sentence):
        _ = split(settings, **options).spec


def test_data_without_classes_are_refused():
    data = ClassSplit(Tones())
    data.of.load = lambda: Source(image=Tones().load().image)
    with pytest.raises(UserError, match="needs at least 3 classes and tones has 0"):
        _ = data.spec


# Episodes of training ---------------------------------------------------------------------------


@pytest.mark.parametrize("shots", [1, 3])
def test_an_episode_is_different_images_of_one_other_class(shots):
    for reals in blocks(split(shots=shots), iterations=20):
        assert reals.shots.shape == (8, shots, 3, SIDE, SIDE)
        assert (reals.target != reals.label).all()
        for row in numbers(reals.shots):
            assert len(set(row.tolist())) == shots
            assert len({n % 5 for n in row.tolist()}) == 1


def test_a_released_loader_does_not_look_at_classes():
    seen = blocks(split(other_class=False), iterations=40)
    same = torch.cat([reals.target == reals.label for reals in seen])
    assert 0.15 < same.float().mean() < 0.55  # a third of three equal classes, 320 draws


def test_contents_are_those_of_the_order_without_episodes():
    """Every item once an epoch, as the same data give them to any other game."""
    data = split()
    seen = torch.cat([reals.index for reals in blocks(data, 7, 8)])
    assert data.spec.num_items == 56 and sorted(seen.tolist()) == list(range(56))


def test_all_items_of_an_iteration_can_share_one_task():
    data = split(episode="task", shots=1)
    tasks = set()
    for reals in blocks(data, 8, 30):
        assert len(reals.target.unique()) == 1
        assert (reals.label != reals.target).all()
        assert len(set(numbers(reals.shots).flatten().tolist())) == 8
        assert len(set(reals.index.tolist())) == 8
        tasks.add(int(reals.target[0]))
    assert tasks == {0, 1, 2}


@pytest.mark.parametrize("episode", ["item", "task"])
@pytest.mark.parametrize("flip", [False, True])
def test_streamed_and_resident_episodes_are_the_same(flip, episode):
    options = {"shots": 2, "episode": episode}
    resident = blocks(split({"flip": flip}, **options), 4)
    workers = {"resident": False, "num_workers": 2, "flip": flip}
    for data in (split({"flip": flip, "resident": False}, **options), split(workers, **options)):
        assert not data.is_resident
        assert all(equal(a, b) for a, b in zip(resident, blocks(data, 4), strict=True))
    # And a run that starts later sees what it would have seen.
    assert all(
        equal(a, b)
        for a, b in zip(
            resident[3:], blocks(split({"flip": flip}, **options), 4, start=3), strict=True
        )
    )
    mirrored = torch.cat([reals.shots[:, :, 0, 0, 0] < 0 for reals in resident])
    assert (0.2 < mirrored.float().mean() < 0.8) if flip else not mirrored.any()


@pytest.mark.parametrize("kind", [EpisodicOrder, TaskOrder])
def test_ranks_together_see_what_one_process_would(kind):
    items = ByClass(torch.arange(60) % 4, 4)
    plan = Plan(seed=3, batch_size=4, batches_per_iteration=2, iterations=5, flip=True)
    make = partial(kind, items=items, shots=2)
    for iteration in range(3):
        whole = make(plan).block(iteration).view(2, 3, 2, 4)
        parts = [
            make(Plan(**{**vars(plan), "rank": rank, "world_size": 2})).block(iteration)
            for rank in range(2)
        ]
        joined = torch.cat([part.view(2, 3, 2, 2) for part in parts], dim=-1)
        assert torch.equal(joined, whole)


# Episodes of pictures and scores ----------------------------------------------------------------


def task(shots):
    return Episodes(Classes(3), shots)


def test_what_is_shown_depends_on_position_and_seed_alone():
    data = split()
    whole = task(4).shown(range(300), 0, data)
    assert equal(whole.part(slice(250, 280)), task(4).shown(range(250, 280), 0, data))
    assert not torch.equal(task(4).shown(range(300), 1, data).target, whole.target)
    assert torch.equal(task(1).shown(range(300), 0, data).shots, whole.shots[:, :1])
    assert set(whole.target.tolist()) == {3, 4}
    names = [(*data.source_classes, *data.target_classes)[label] for label in whole.target]
    assert names_of(whole.shots[:, 2]) == names
    support = set(numbers(data.support.items_at(range(data.support.spec.num_items)).image).tolist())
    assert set(numbers(whole.shots).flatten().tolist()) <= support
    assert all(len(set(row.tolist())) == 4 for row in numbers(whole.shots))
    # Masks of the examples come along.
    assert whole.hair_of_shots.shape == (300, 4, 1, SIDE, SIDE)
    assert torch.equal(whole.hair_of_shots[..., 0, 0, 0], (numbers(whole.shots) % 2).float())


def test_an_episode_has_one_set_of_examples():
    shown = task(3).shown(range(4 * POSITIONS_PER_EPISODE), 0, split())
    episodes = shown.episode.unique()
    assert len(episodes) == 8
    sets = set()
    for episode in episodes:
        own = shown.part(shown.episode == episode)
        assert (own.shots == own.shots[:1]).all() and len(own.target.unique()) == 1
        sets.add(tuple(numbers(own.shots[0]).tolist()))
    assert len(sets) > 4


def test_more_examples_than_there_are_are_refused():
    with pytest.raises(UserError, match=r"The class (green-old|grey) has \d+ images"):
        task(40).shown(range(8), 0, split())


# A run ------------------------------------------------------------------------------------------


def test_data_without_episodes_are_refused_before_anything_is_written(tmp_path):
    words = ["gan=funit", "network=funit_small", "datamodule=avatars", *QUICK]
    with pytest.raises(UserError, match=r"items with the field shots.*datamodule=class_split"):
        train_here([*words, f"output_dir={tmp_path}"])
    assert not list(tmp_path.iterdir())
