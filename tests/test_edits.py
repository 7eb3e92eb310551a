"""What is asked of an edit: one attribute or several, in groups and regions."""

from dataclasses import replace

import pytest
import torch
from lamps import NAMES, REGIONS, Lamps
from play import spec_of

from saddlepoint.errors import UserError
from saddlepoint.gans.edits import LocalEdits, Translations
from saddlepoint.gans.holes import MaskHoles, RandomHoles, RegionHoles
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.edits import Edits, chosen
from saddlepoint.items import Items
from saddlepoint.randomness import Draws

COLOURS = slice(1, 4)


@pytest.fixture(scope="module")
def data():
    return Lamps(300, 0, held_out=Lamps(60, 1))


@pytest.fixture(scope="module")
def condition(data):
    condition = Edits.of_data(data.spec)
    condition.fill(data)
    return condition


def test_it_knows_groups_regions_and_mean_boxes(data, condition):
    assert condition.names == NAMES and condition.regions == tuple(REGIONS)
    assert condition.allowed.tolist() == [
        [True, False, False, False, False],
        [False, True, True, True, False],
    ]
    assert condition.complete.tolist() == [False, True, True, True, False]
    torch.testing.assert_close(condition.boxes, data.boxes.mean(0))
    with pytest.raises(UserError, match="needs items with the field attributes"):
        Edits.of_data(spec_of((3, 8, 8)))
    # Its buffers are what a checkpoint restores.
    other = Edits.of_data(data.spec)
    other.load_state_dict(condition.state_dict())
    assert torch.equal(other.complete, condition.complete)
    assert torch.equal(other.boxes, condition.boxes)


def test_a_colour_takes_the_place_of_another_and_is_never_taken_away(condition):
    own = torch.tensor([[1.0, 0, 1, 0, 0]])
    assert condition.possible(own).tolist() == [[True, True, False, True, True]]
    changes = {
        choice: condition.changed(own, torch.tensor([choice]))[0].tolist()
        for choice in (0, 1, 3, 4)
    }
    assert changes == {
        0: [0, 0, 1, 0, 0],
        1: [1, 1, 0, 0, 0],
        3: [1, 0, 0, 1, 0],
        4: [1, 0, 1, 0, 1],
    }
    assert own.tolist() == [[1, 0, 1, 0, 0]]


def test_an_incomplete_group_may_be_left_and_a_region_changes_no_other_ones():
    names = ("mustache", "goatee", "shaved")
    spec = replace(
        spec_of((3, 8, 8), attributes=names),
        exclusive=(names,),
        regions={"lip": ("mustache", "shaved"), "all": names},
    )
    condition = Edits.of_data(spec)
    own = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]])
    lip, everything = condition.allowed
    # On a goatee no mustache can be put by a region that may not take the goatee off.
    assert condition.possible(own, lip.expand(3, -1)).tolist() == [
        [False, False, False],
        [True, False, True],
        [True, False, True],
    ]
    assert condition.possible(own, everything.expand(3, -1)).all()
    assert condition.changed(own[:1], torch.tensor([1])).tolist() == [[0, 0, 0]]
    condition.complete[:] = True
    assert not condition.possible(own, everything.expand(3, -1))[0, 1]
    # A mixture with two of a group, or with none of a complete one, is not asked for.
    wanted = torch.tensor([[1.0, 1, 0], [0, 0, 0], [0, 0, 1]])
    own = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 1, 0]])
    assert condition.consistent(wanted, own).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_choices_are_uniform_among_the_possible():
    possible = torch.tensor([[True, False, True, True]]).expand(30_000, -1)
    counts = chosen(possible, Draws(0).uniform(30_000, 4)).bincount(minlength=4)
    assert counts[1] == 0
    expected = 10_000
    chi_square = ((counts[[0, 2, 3]] - expected).double().square() / expected).sum()
    assert chi_square < 19.8  # exceeded once in 20 000 times with 2 degrees of freedom


# Tasks ------------------------------------------------------------------------------------------


def in_training(task, data, n=300, key="training"):
    reals = data.items_at(torch.arange(n))
    reals = reals.but(condition=task.condition.of(reals))
    return task.inputs(Draws(0, key), n, [reals])


def is_consistent(target):
    return (target[:, COLOURS].sum(1) == 1).all()


def test_a_translation_asks_for_what_other_images_of_the_batch_have(data, condition):
    inputs = in_training(Translations(condition), data)
    assert not torch.equal(inputs.target, inputs.attributes)
    assert torch.equal(inputs.target.sort(0).values, inputs.attributes.sort(0).values)
    rows = {tuple(row) for row in inputs.attributes.tolist()}
    assert {tuple(row) for row in inputs.target.tolist()} <= rows
    # Two processes ask together for what one does.
    permutation = Draws(0, "p").permutation(300)
    halves = [Draws(0, "p", rank=r, world_size=2).permutation(150) for r in (0, 1)]
    assert torch.equal(torch.cat(halves), permutation)
    assert torch.equal(permutation.sort().values, torch.arange(300))


def test_a_region_changes_only_what_it_may_and_always_something_or_nothing(data, condition):
    inputs = in_training(LocalEdits(condition, RegionHoles(), reconstructed=0.5), data)
    changed = inputs.target != inputs.attributes
    allowed = condition.allowed[inputs.region]
    assert not changed[~allowed].any()
    assert is_consistent(inputs.target)
    reconstructed = ~changed.any(1)
    assert 150 - 5 * 8.7 < reconstructed.sum() < 150 + 5 * 8.7  # standard deviation (n p q)^0.5
    # Masks are those of the regions.
    expected = data.boxes[torch.arange(300), inputs.region]
    middle = ((expected[:, :2] + expected[:, 2:]) / 2).long()
    assert inputs.mask[torch.arange(300), 0, middle[:, 1], middle[:, 0]].all()
    always = in_training(LocalEdits(condition, RegionHoles(), reconstructed=0.0), data)
    assert (always.target != always.attributes).any(1).all()
    signs = in_training(LocalEdits(condition, RegionHoles(["sign"]), reconstructed=0.0), data)
    assert (signs.region == 1).all() and (signs.target != signs.attributes)[:, COLOURS].any(1).all()
    never = in_training(LocalEdits(condition, RegionHoles(), reconstructed=1.0), data)
    assert torch.equal(never.target, never.attributes)


@pytest.mark.parametrize("kind", [Translations, LocalEdits])
def test_what_is_shown_differs_in_one_attribute_and_depends_on_its_position_alone(
    kind, data, condition
):
    task = kind(condition) if kind is Translations else kind(condition, RegionHoles())
    shown = task.shown(range(200), 0, data)
    assert torch.equal(shown.index, torch.arange(200) % 60)
    assert torch.equal(shown.image, data.held_out.items_at(shown.index).image)
    changed = shown.target != shown.attributes
    colours, others = changed[:, COLOURS].any(1), changed[:, [0, 4]].sum(1)
    assert (colours + others == 1).all()
    assert is_consistent(shown.target)
    assert changed.any(0)[:4].all()
    assert changed[:, 4].any() == (kind is Translations)  # the wall shows in no region
    part = task.shown(range(90, 110), 0, data)
    assert all(torch.equal(part[name], shown[name][90:110]) for name in part)
    assert not torch.equal(task.shown(range(200), 1, data).target, shown.target)
    if kind is LocalEdits:
        assert not changed[~condition.allowed[shown.region]].any()


def test_one_attribute_is_changed_on_request_where_it_can_be(data, condition):
    items = data.items_at(torch.arange(50))
    for choice, name in enumerate(NAMES):
        whole = Translations(condition).edit(items, choice)
        local = LocalEdits(condition, RegionHoles()).edit(items, choice)
        own = items.attributes[:, choice]
        toggles = name in ("lit", "bright")
        expected = 1 - own if toggles else torch.ones(50)
        assert torch.equal(whole.target[:, choice], expected)
        if name == "bright":  # no region may
            assert torch.equal(local.target, items.attributes)
        else:
            assert torch.equal(local.target, whole.target)
            assert (local.region == (name != "lit")).all()


def test_other_holes_change_everything_or_nothing(data, condition):
    everything = LocalEdits(condition, MaskHoles(grow=1), 0.0)
    assert is_consistent(in_training(everything, data).target)
    shown = everything.shown(range(100), 0, data)
    assert (shown.target != shown.attributes)[:, 4].any()
    nothing = LocalEdits(condition, RandomHoles(), 0.0)
    for inputs in (in_training(nothing, data), nothing.shown(range(100), 0, data)):
        assert torch.equal(inputs.target, inputs.attributes)
        assert (inputs.mask.flatten(1).sum(1) > 0).all()


def test_classes_are_changed_to_any_other():
    class Digits:
        spec, held_out = spec_of((3, 8, 8), num_classes=4, num_items=40), None

        def items_at(self, indices):
            return Items(image=torch.rand(len(indices), 3, 8, 8), label=indices % 4)

    task = Translations(Classes(4))
    shown = task.shown(range(400), 0, Digits())
    pairs = {(a, b) for a, b in zip(shown.label.tolist(), shown.target.tolist(), strict=True)}
    assert pairs == {(a, b) for a in range(4) for b in range(4) if a != b}
    edited = task.edit(Digits().items_at(torch.arange(4)), 2)
    assert edited.target.tolist() == [2, 2, 2, 2]
