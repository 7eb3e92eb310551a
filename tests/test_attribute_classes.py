"""Classes that are combinations of attributes."""

import pytest
import torch

from saddlepoint.datamodules import fields
from saddlepoint.datamodules.attribute_classes import AttributeClasses
from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.class_split import ClassSplit
from saddlepoint.datamodules.source import Source
from saddlepoint.errors import UserError

ATTRIBUTES = ("black", "grey", "male", "hat")
#: One item for each way that four attributes can be, three times over.
ROWS = torch.cartesian_prod(*[torch.arange(2)] * 4).repeat(3, 1).to(torch.uint8)


class Faces(DataModule):
    """The number of an item is in its pixels, its class that number modulo 2."""

    def __init__(self, rows=ROWS, **settings):
        super().__init__("faces", **{"num_workers": 0, **settings})
        self.rows = rows

    def load(self):
        number = torch.arange(len(self.rows), dtype=torch.uint8)
        return Source(
            image=fields.Image(number.view(-1, 1, 1, 1).repeat(1, 3, 4, 4)),
            label=fields.Label(torch.arange(len(self.rows)) % 2, ("even", "odd")),
            attributes=fields.Attributes(self.rows, ATTRIBUTES),
        )


def classed(groups, without=(), **settings):
    return AttributeClasses(Faces(**settings), groups=groups, without=without)


def rows_of(part):
    items = part.items_at(range(part.spec.num_items))
    number = ((items.image[:, 0, 0, 0] + 1) * 127.5).round().long()
    return number, [part.spec.classes[label] for label in items.label]


def test_a_choice_and_a_yes_or_no():
    data = classed([["black", "grey"], ["male"]], ["hat"])
    assert data.spec.classes == ("black-not_male", "black-male", "grey-not_male", "grey-male")
    expected = {}
    for number, (black, grey, male, hat) in enumerate(ROWS.tolist()):
        if black + grey == 1 and not hat:
            colour = "black" if black else "grey"
            expected[number] = f"{colour}-{'male' if male else 'not_male'}"
    number, names = rows_of(data.training)
    assert dict(zip(number.tolist(), names, strict=True)) == expected
    assert torch.equal(data.items_at(range(12)).attributes.byte(), ROWS[number])


def test_the_classes_that_there_are_can_be_a_part():
    data = classed([["label"], ["male"]])
    assert data.spec.classes == ("even-not_male", "even-male", "odd-not_male", "odd-male")
    assert data.spec.num_items == len(ROWS)
    # Targets are named by a part of a class's name.
    split = ClassSplit(data, targets=["male"], held_out=0.25)
    assert split.target_classes == ("even-male", "odd-male")


def test_combinations_that_nobody_has_are_no_classes():
    few = ROWS[(ROWS[:, 0] == 0) | (ROWS[:, 2] == 0)]
    data = classed([["black"], ["male"]], rows=few)
    assert data.spec.classes == ("not_black-not_male", "not_black-male", "black-not_male")


def test_held_out_items_have_the_classes_of_training():
    data = classed([["black", "grey"], ["male"]], held_out=0.3)
    training, held_out = rows_of(data.training), rows_of(data.held_out)
    assert data.held_out.spec.classes == data.spec.classes
    assert not set(training[0].tolist()) & set(held_out[0].tolist())
    for number, name in zip(*held_out, strict=True):
        assert name.startswith("black" if ROWS[number, 0] else "grey")
    assert classed([["male"]]).held_out is None


@pytest.mark.parametrize(
    ("groups", "without", "sentence"),
    [
        ([["blck"]], [], "no attribute blck: did you mean black"),
        ([["male"]], ["cap"], "no attribute cap: choose of black, grey"),
        ([["hat"]], ["hat"], "has 1: choose another"),
    ],
)
def test_wrong_groups_are_refused(groups, without, sentence):
    with pytest.raises(UserError, match=sentence):
        _ = ClassSplit(classed(groups, without)).spec


def test_groups_that_no_image_fits_are_refused():
    with pytest.raises(UserError, match="exactly one attribute of every group"):
        _ = classed([["black", "grey"]], rows=ROWS[(ROWS[:, 0] == ROWS[:, 1])]).spec
