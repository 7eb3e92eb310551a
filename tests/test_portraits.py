"""The drawn portraits: what is known of them holds in their pixels."""

import pytest
import torch

from saddlepoint.datamodules import portraits
from saddlepoint.datamodules.portraits import (
    ATTRIBUTES,
    FACES,
    HAIR,
    HELD_OUT,
    REGIONS,
    SHEET,
    SIDE,
    STYLES,
    Portraits,
)
from saddlepoint.errors import UserError


@pytest.fixture(scope="module")
def data():
    return Portraits(flip=True)


@pytest.fixture(scope="module")
def tested(data):
    """The held-out items as stored."""
    source = data.held_out.source
    return source.read(torch.arange(source.count))


def test_what_the_set_says_of_itself(data):
    spec = data.spec
    assert (spec.name, spec.shape, spec.num_items) == ("portraits", (3, SIDE, SIDE), FACES)
    assert (spec.attributes, spec.exclusive, spec.regions) == (ATTRIBUTES, (HAIR,), REGIONS)
    assert spec.fields["boxes"] == (len(REGIONS), 4) and spec.fields["hair"] == (1, SIDE, SIDE)
    # The truth is of those held out alone.
    assert "edits" not in data.source
    held_out = data.held_out
    assert (held_out.name, held_out.spec.num_items) == ("test", HELD_OUT)
    assert held_out.spec.fields["edits"] == (len(ATTRIBUTES), 3, SIDE, SIDE)


def test_every_class_and_attribute_is_common_enough_to_learn(data, tested):
    for items in (data.source.read(torch.arange(FACES)), tested):
        assert items.attributes[:, : len(HAIR)].sum(1).eq(1).all()
        counts = items.label.bincount(minlength=len(STYLES) * len(HAIR))
        assert counts.min() == counts.max()
        shares = items.attributes[:, len(HAIR) :].float().mean(0)
        assert shares.min() > 0.2 and shares.max() < 0.7
    images = torch.cat([data.source.image.values, tested.image]).flatten(1)
    assert len(images.unique(dim=0)) > 0.98 * len(images), "and faces are varied"


@pytest.mark.parametrize("classes", ["hair", "style", "style_and_hair"])
def test_classes_are_colours_and_styles(classes, data):
    other = Portraits(classes=classes)
    assert other.spec.digest == data.spec.digest
    names = [other.spec.classes[label] for label in other.source.label.values.tolist()]
    for index in (0, 1, 2, 3, 4, 100, FACES - 1):
        hair = HAIR[other.source.attributes.values[index, : len(HAIR)].int().argmax()]
        style = STYLES[index % len(STYLES)]
        assert names[index] == {"hair": hair, "style": style}.get(classes, f"{style}-{hair}")


@pytest.mark.parametrize("region", REGIONS)
def test_an_edit_changes_nothing_outside_its_box_and_all_the_way_to_its_edges(region, tested):
    box = tested.boxes[:, list(REGIONS).index(region)].long()
    edits = tested.edits[:, [ATTRIBUTES.index(name) for name in REGIONS[region]]]
    changed = (edits != tested.image[:, None]).any(2).any(1)
    for pixels, (left, top, right, bottom) in zip(changed, box.tolist(), strict=True):
        rows, columns = pixels.any(1).nonzero(), pixels.any(0).nonzero()
        assert (left, right) == (columns.min(), columns.max() + 1)
        assert (top, bottom) == (rows.min(), rows.max() + 1)
    if region == "hair":
        assert torch.equal(changed, tested.hair[:, 0].bool())


def test_hair_that_is_given_its_own_colour_stays(tested):
    own = tested.attributes[:, : len(HAIR)].bool()
    assert torch.equal(tested.edits[:, : len(HAIR)][own], tested.image)
    others = tested.edits[:, : len(HAIR)][~own] != tested.image.repeat_interleave(5, dim=0)
    assert others.flatten(1).any(1).all()


def test_a_mirrored_edit_lies_in_the_mirrored_box(data):
    source = data.held_out.source
    served = source.finish(source.read(torch.arange(60)), torch.ones(60))
    left, _, right, _ = served.boxes[:, list(REGIONS).index("eyes")].long().unbind(1)
    glasses = served.edits[:, ATTRIBUTES.index("glasses")]
    columns = (glasses != served.image).any(1).any(1)
    for changed, first, end in zip(columns, left, right, strict=True):
        assert changed.nonzero().min() == first and changed.nonzero().max() + 1 == end


def test_a_damaged_file(tmp_path, monkeypatch):
    path = tmp_path / "portraits.npz"
    path.write_bytes(SHEET.read_bytes()[:-5000])
    monkeypatch.setattr(portraits, "SHEET", path)
    with pytest.raises(UserError, match="missing or damaged"):
        _ = Portraits().spec
