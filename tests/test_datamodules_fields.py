"""Fields: served forms, mirroring, cutting, digests; a new kind is one class."""

import numpy as np
import pytest
import torch
from pictures import encoded
from PIL import Image as Picture

from saddlepoint.datamodules import fields
from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.decode import Decoder
from saddlepoint.datamodules.source import Source
from saddlepoint.datamodules.spec import DataSpec, spec_of
from saddlepoint.items import Items
from saddlepoint.randomness import keyed_generator

N, WIDTH, HEIGHT = 12, 9, 6


def draw(high, *shape, dtype=torch.uint8):
    generator = keyed_generator("fields", high, *shape)
    return torch.randint(high, (N, *shape), generator=generator).to(dtype)


def boxes(regions):
    corners = draw(4 * WIDTH, regions, 2) / 4
    return torch.cat((corners, corners + 0.25 + draw(16, regions, 2) / 4), dim=-1)


def kinds():
    """A field of every kind; points on quarters of a pixel, whose arithmetic is exact."""
    return {
        "image": fields.Image(draw(256, 3, HEIGHT, WIDTH)),
        "label": fields.Label(draw(5, dtype=torch.int64), "abcde"),
        "attributes": fields.Attributes(
            draw(2, 3), ("hat", "beard", "glasses"), exclusive=[["hat", "glasses"]]
        ),
        "boxes": fields.Boxes(boxes(2), WIDTH, {"eyes": ["glasses"], "chin": ("beard",)}),
        "mask": fields.Mask(draw(2, 1, HEIGHT, WIDTH)),
        "points": fields.Points(draw(4 * WIDTH, 5, 2) / 4, WIDTH, pairs=((0, 1), (3, 4))),
        "vector": fields.Vector(draw(100, 7) / 7),
    }


class Everything(DataModule):
    def __init__(self, more=None, **settings):
        super().__init__("everything", **{"num_workers": 0, **settings})
        self.more = more or {}

    def load(self):
        return Source(**kinds(), **self.more)


def blocks(data, iterations=7):
    data.plan(3, batch_size=4, batches_per_iteration=2, iterations=iterations)
    return [data.on_after_batch_transfer(block, 0)["reals"] for block in data.train_dataloader()]


# Kinds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*kinds(), "index"])
def test_mirrored_twice_is_the_same(kind):
    field = Source(**kinds())[kind]
    stored = field.read(torch.arange(N))
    assert torch.equal(field.mirrored(field.mirrored(stored)), stored)
    assert field.mirrored(stored).dtype == stored.dtype


def test_left_and_right_eye_swap():
    points = torch.tensor([[[1.0, 2.0], [6.0, 3.0], [4.0, 4.0]]])  # left eye, right eye, nose
    field = fields.Points(points, WIDTH, pairs=((0, 1),), names=("left", "right", "nose"))
    assert field.mirrored(points).tolist() == [[[2, 3], [7, 2], [4, 4]]]


def test_what_is_served():
    source = Source(**kinds())
    stored = source.read(torch.arange(N))
    served = source.finish(stored)
    types = {
        "image": torch.float32,
        "label": torch.int64,
        "attributes": torch.float32,
        "mask": torch.float32,
        "points": torch.float32,
        "boxes": torch.float32,
        "vector": torch.float32,
        "index": torch.int64,
    }
    assert {name: field.dtype for name, field in served.items()} == types
    assert torch.equal(served.image, stored.image / 127.5 - 1)
    assert torch.equal(served.mask, stored.mask.float())
    assert torch.equal(served.index, torch.arange(N))
    for name in ("label", "attributes", "points", "boxes", "vector"):
        assert torch.equal(served[name], stored[name].to(types[name]))


def test_a_mirrored_item_is_mirrored_as_a_whole():
    """Marks drawn at the points lie at the points of the mirrored image, and so does the mask."""
    images = torch.zeros(N, 1, HEIGHT, WIDTH, dtype=torch.uint8)
    places = torch.stack((draw(WIDTH, 2), draw(HEIGHT, 2)), dim=-1).float()
    for image, points in zip(images, places, strict=True):
        for point, brightness in zip(points.int().tolist(), (100, 200), strict=True):
            image[0, point[1], point[0]] = brightness
    mask = (images > 0).to(torch.uint8)
    source = Source(
        image=fields.Image(images), mask=fields.Mask(mask), points=fields.Points(places, WIDTH)
    )
    flips = torch.arange(N) % 2
    served = source.finish(source.read(torch.arange(N)), flips)
    assert torch.equal(served.mask, (served.image > -1).float())
    for item in range(N):
        x, y = served.points[item, 1].int().tolist()
        assert served.image[item, 0, y, x] == torch.tensor(200 / 127.5 - 1)
        assert (x == places[item, 1, 0]) == (flips[item] == 0 or x == WIDTH - 1 - x)


def test_blocks_serve_all_fields_alike():
    """Resident and streamed, with workers and without, mirrored or not."""
    for flip in (False, True):
        resident = blocks(Everything(flip=flip, resident=True))
        for workers in (0, 2):
            streamed = blocks(Everything(flip=flip, resident=False, num_workers=workers))
            for one, other in zip(resident, streamed, strict=True):
                assert one.keys() == other.keys() == {*kinds(), "index"}
                assert all(torch.equal(one[name], other[name]) for name in one)
    for block in resident:  # each item is its own, or its own mirrored
        whole = Source(**kinds())
        stored = whole.read(block.index)
        plain, mirrored = (whole.finish(stored, torch.full((8,), flip)) for flip in (0, 1))
        flipped = [not torch.equal(a, b) for a, b in zip(block.image, plain.image, strict=True)]
        for item, is_flipped in enumerate(flipped):
            expected = mirrored if is_flipped else plain
            assert all(torch.equal(block[name][item], expected[name][item]) for name in block)


def test_a_new_kind_is_one_class():
    class Angle(fields.Field):
        """A direction in the image."""

        def mirrored(self, stored):
            return -stored

    angles = Angle(torch.arange(N).float() + 1)
    data = Everything({"angle": angles}, flip=True)
    assert data.spec.fields["angle"] == () and "angle" in data.spec.annotations
    served = blocks(data) + blocks(Everything({"angle": angles}, flip=True, resident=False))
    assert all(torch.equal(block.angle.abs(), block.index + 1) for block in served)
    assert {sign.item() for block in served for sign in block.angle.sign()} == {-1, 1}
    assert next(data.real_batches(5)).angle.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nothing_waits_for_the_device():
    source = Source(**kinds()).to(torch.device("cuda"))
    items, flips = torch.arange(N, device="cuda"), (torch.arange(N) % 2).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        served = source.finish(source.read(items), flips)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = Source(**kinds()).finish(Source(**kinds()).read(items.cpu()), flips.cpu())
    for name in expected:
        torch.testing.assert_close(served[name].cpu(), expected[name], rtol=0, atol=1e-6)


# Cutting ------------------------------------------------------------------------------------------


def decoded(decoder, size, points):
    """Decode black images of ``size`` with one bright pixel each."""
    images = []
    for x, y in points:
        picture = np.zeros((size[1], size[0]), np.uint8)
        picture[y, x] = 255
        images.append(torch.from_numpy(decoder(encoded(Picture.fromarray(picture)), "x").copy()))
    return torch.stack(images)


def brightest(image):
    y, x = divmod(image.flatten().argmax().item(), image.shape[-1])
    return torch.tensor([x, y])


@pytest.mark.parametrize("size", [(18, 12), (12, 18), (17, 12), (6, 18)])
@pytest.mark.parametrize("resolution", [None, 12, 4])
def test_a_landmark_stays_on_its_pixel(size, resolution):
    """After a crop to 12 x 12, which may reach out of the image, a resize, and a flip."""
    # In the middle of blocks of 3 x 3 after the crop, so that a third of the size is exact.
    left, top = (round((n - 12) / 2) if n >= 12 else -((12 - n) // 2) for n in size)
    places = [
        (x, y)
        for x, y in ((left + 1, top + 4), (left + 4, top + 7), (left + 10, top + 1))
        if x < size[0] and y < size[1] and min(x, y) >= 0
    ]
    assert places
    decoder = Decoder(resolution=resolution, crop=12, channels=1, filter="bilinear")
    window = decoder.window(size)
    images = decoded(decoder, size, places)
    masks = torch.zeros(len(places), 1, size[1], size[0], dtype=torch.uint8)
    for mask, (x, y) in zip(masks, places, strict=True):
        mask[0, y, x] = 1
    points = torch.tensor(places).float().unsqueeze(1)
    source = Source(
        image=fields.Image(images),
        mask=fields.Mask(masks).framed(window),
        points=fields.Points(points, size[0]).framed(window),
    )
    assert source.mask.shape == source.image.shape == (1, resolution or 12, resolution or 12)
    for flip in (0, 1):
        served = source.finish(
            source.read(torch.arange(len(places))), torch.full((len(places),), flip)
        )
        for item in range(len(places)):
            assert torch.equal(brightest(served.image[item]), served.points[item, 0].round().long())
            assert torch.equal(brightest(served.mask[item]), served.points[item, 0].round().long())
            assert torch.allclose(served.points[item, 0], served.points[item, 0].round(), atol=1e-5)


@pytest.mark.parametrize("resolution", [64, 128, 300])
def test_a_landmark_stays_within_its_pixel_at_any_size(resolution):
    decoder = Decoder(resolution=resolution, crop=178, channels=1, filter="bilinear")
    places = [(69, 109), (106, 113), (77, 142), (73, 152), (0, 20), (177, 197)]
    images = decoded(decoder, (178, 218), places)
    points = decoder.window((178, 218)).place(torch.tensor(places).float())
    for image, point in zip(images, points, strict=True):
        # Neighbours that are equally bright in 8 bits leave a pixel's doubt, in pixels of either.
        assert (brightest(image) - point).abs().max() <= max(1, resolution / 178)


def inside(box, shape):
    """Pixels whose centres lie in a box: (H, W) bool."""
    left, top, right, bottom = box.tolist()
    y, x = torch.meshgrid(*(torch.arange(n) + 0.5 for n in shape), indexing="ij")
    return (left < x) & (x < right) & (top < y) & (y < bottom)


@pytest.mark.parametrize("resolution", [12, 4, 24])
def test_a_box_covers_the_same_pixels_as_the_mask_of_what_is_in_it(resolution):
    """After a crop to 12 x 12, a resize, and a flip."""
    window = Decoder(resolution=resolution, crop=12, channels=1).window((18, 14))
    edges = torch.tensor([[[3.0, 1.0, 9.0, 7.0], [9.0, 4.0, 15.0, 13.0]]])
    mask = torch.stack([inside(box, (14, 18)) for box in edges[0]])[:, None].to(torch.uint8)
    framed = fields.Mask(mask).framed(window)
    placed = fields.Boxes(edges, 18, ("left", "right")).framed(window)
    shape = (resolution, resolution)
    for change in (lambda field: field.values, lambda field: field.mirrored(field.values)):
        for region in range(2):
            found = inside(change(placed)[0, region], shape)
            assert torch.equal(found, change(framed)[region, 0].bool()) and found.any()


# Sets ---------------------------------------------------------------------------------------------


def test_fields_of_one_length():
    with pytest.raises(ValueError, match="differ in length"):
        Source(image=fields.Image(draw(256, 1, 4, 4)), label=fields.Label(torch.zeros(3)))


def test_parts_and_replacements():
    source = Source(**kinds())
    part = source.only(torch.tensor([3, 1]))
    stored, chosen = source.read(torch.tensor([3, 1])), part.read(torch.arange(2))
    assert chosen.index.tolist() == [0, 1] and part.count == 2
    for name in kinds():
        assert torch.equal(chosen[name], stored[name])
        assert (part[name].names, type(part[name])) == (source[name].names, type(source[name]))
    assert part.points.order == [1, 0, 2, 4, 3]
    assert part.image.digest() != source.image.digest()
    assert "label" not in source.replaced(label=None) and "label" in source


def test_what_is_known_of_images_has_digests_of_its_own():
    spec = spec_of(Source(**kinds()), "everything")
    assert spec.annotations.keys() == kinds().keys() - {"image"}
    for name in spec.annotations:
        changed = kinds()
        values = changed[name].values.clone()
        values[0] = 1 - values[0] if values.dtype == torch.uint8 else values[0] + 1
        changed[name].values = values
        other = spec_of(Source(**changed), "everything")
        assert other.digest == spec.digest
        assert {n for n in spec.annotations if spec.annotations[n] != other.annotations[n]} == {
            name
        }
        assert not spec.describes_same_data(other)
    without = spec_of(Source(image=kinds()["image"]), "everything")
    assert without.describes_same_data(spec), "what one does not know is no contradiction"


def test_spec_in_plain_values_and_back():
    spec = spec_of(Source(**kinds()), "everything")
    assert spec.shape == (3, HEIGHT, WIDTH) and spec.num_classes == 5
    assert spec.attributes == ("hat", "beard", "glasses")
    assert spec.exclusive == (("hat", "glasses"),)
    assert spec.regions == {"eyes": ("glasses",), "chin": ("beard",)}
    assert spec.fields["points"] == (5, 2) and spec.fields["index"] == ()
    plain = spec.plain()
    assert plain["shape"] == [3, HEIGHT, WIDTH] and plain["fields"]["mask"] == [1, HEIGHT, WIDTH]
    assert DataSpec.from_plain(plain) == spec
    assert DataSpec.from_plain({**plain, "of a later version": 1}) == spec
    old = {"name": "avatars", "shape": [3, 32, 32], "classes": ["a"], "digest": "sha256-0"}
    assert DataSpec.from_plain(old).num_classes == 1 and DataSpec.from_plain(old).annotations == {}
    assert DataSpec.from_plain(old).regions == {} and DataSpec.from_plain(old).exclusive == ()


def test_batches_have_all_fields():
    data = Everything(flip=True)
    for items in data.real_batches(5, [7, 0, 7, 3]):
        assert isinstance(items, Items) and items.index.tolist() == [7, 0, 7, 3]
        for name, field in kinds().items():
            assert torch.equal(items[name], field.values[items.index])
    served = data.items_at(torch.tensor([7, 0]))
    assert torch.equal(served.image, kinds()["image"].values[[7, 0]] / 127.5 - 1)
    assert torch.equal(served.points, kinds()["points"].values[[7, 0]])
