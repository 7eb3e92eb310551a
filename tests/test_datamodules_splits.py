"""What is kept out of training: official test splits, and shares that are drawn."""

import pytest
import torch
from pictures import load, picture, put_zip

import saddlepoint.datamodules.base
from saddlepoint.datamodules.avatars import Avatars
from saddlepoint.datamodules.toys import Gaussians8
from saddlepoint.errors import UserError


@pytest.fixture
def images(tmp_path):
    files = {f"{'ab'[i % 2]}/{i:03}.png": picture(i) for i in range(40)}
    return put_zip(tmp_path / "images.zip", files)


def all_of(split):
    return torch.cat([items.image for items in split.real_batches(7)])


def rows(images):
    return [tuple(image) for image in images.flatten(1).tolist()]


def test_nothing_is_held_out_unless_asked(images):
    assert load(images).held_out is None
    assert load(images, held_out=0).spec == load(images, held_out=0.0).spec == load(images).spec


@pytest.mark.parametrize("settings", [{}, {"resident": False, "large": True}])
def test_a_share_is_never_trained_on(images, settings, monkeypatch):
    settings = {"resolution": 8, "channels": 3, **settings}
    if settings.pop("large", False):
        monkeypatch.setattr(saddlepoint.datamodules.base, "DECODED_AT_MOST", 0)
    whole, data = load(images, **settings), load(images, held_out=0.25, **settings)
    held_out = data.held_out
    assert (held_out.name, held_out.spec.name, held_out.spec.classes) == (
        "held_out",
        "images",
        ("a", "b"),
    )
    assert (data.spec.num_items, held_out.spec.num_items) == (30, 10)
    assert len({whole.spec.digest, data.spec.digest, held_out.spec.digest}) == 3
    trained, kept = rows(all_of(data)), rows(all_of(held_out))
    assert sorted(trained + kept) == sorted(rows(all_of(whole)))
    assert not {*trained} & {*kept}
    data.plan(0, 6, 5, 4)
    seen = []
    for block in data.train_dataloader():
        reals = data.on_after_batch_transfer(block, 0)["reals"]
        seen += rows(((reals.image + 1) * 127.5).round())
        # Positions count what is trained on.
        assert torch.equal(data.items_at(reals.index).image, reals.image)
        assert torch.equal(data.items_at(reals.index).label, reals.label)
    assert {*seen} == {*trained}
    again = load(images, held_out=0.25, **settings)
    assert again.spec == data.spec and again.held_out.spec == held_out.spec


def test_shares_of_points_and_faces():
    points = Gaussians8(num_items=100, held_out=0.1)
    assert (points.spec.num_items, points.held_out.spec.num_items) == (90, 10)
    faces = Avatars(held_out=0.5)
    assert faces.spec.num_items == faces.held_out.spec.num_items == 3072
    assert faces.held_out.spec.attributes == faces.spec.attributes
    served = faces.held_out.items_at([0, 5])
    assert served.image.dtype == torch.float32 and served.index.tolist() == [0, 5]


def test_wrong_shares(images):
    for share in (-0.1, 1.5, "half"):
        with pytest.raises(UserError, match="held_out="):
            load(images, held_out=share)
    for share in (0.001, 1.0):
        with pytest.raises(UserError, match="leaves some on both sides"):
            _ = load(images, held_out=share).spec
