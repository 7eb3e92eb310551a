"""Metrics of edits and of few-shot translations: closed forms and limiting cases."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchvision import models

from saddlepoint.datamodules.pixels import to_float
from saddlepoint.errors import UserError
from saddlepoint.evaluation.edits import asked_attribute, mask_of, told
from saddlepoint.evaluation.metrics.attribute_success import AttributeSuccess
from saddlepoint.evaluation.metrics.distance import Distance
from saddlepoint.evaluation.metrics.group_distance import ClassDistance, RegionDistance, cut_out
from saddlepoint.evaluation.metrics.lpips import LPIPS
from saddlepoint.evaluation.metrics.pairs import PairValues
from saddlepoint.evaluation.metrics.psnr import PSNR
from saddlepoint.evaluation.metrics.seam import Seam
from saddlepoint.evaluation.metrics.translation_accuracy import TranslationAccuracy
from saddlepoint.extractors.extractor import Extracted, Extractor
from saddlepoint.extractors.small_resnet import Outputs
from saddlepoint.items import Items
from saddlepoint.randomness import keyed_generator

SIDE = 16
ATTRIBUTES = ("red", "blue", "hat")
SPEC = SimpleNamespace(
    name="squares",
    shape=(3, SIDE, SIDE),
    num_items=60,
    classes=("red", "blue"),
    attributes=ATTRIBUTES,
    exclusive=(("red", "blue"),),
    regions={"top": ("hat",), "body": ("red", "blue")},
)
TOP, BODY = [4.0, 0, 12, 4], [2.0, 4, 14, 16]


def noise(*shape, seed=0):
    return torch.randint(256, shape, generator=keyed_generator("noise", seed)).to(torch.uint8)


def values(metric, output, inputs, size=7):
    collected = PairValues(metric)
    for start in range(0, len(output), size):
        part = slice(start, start + size)
        collected.update(output[part], inputs.part(part))
    collected.merge_ranks()
    return collected.compute()


def faces(attributes):
    """Images that show red or blue in the body, and a hat or none at the top."""
    red, blue, hat = attributes[:, :, None, None].unbind(1)
    image = torch.zeros(len(attributes), 3, SIDE, SIDE)
    image[:, 0:1, 4:, 2:14] = 200 * red[:, None]
    image[:, 2:3, 4:, 2:14] = 200 * blue[:, None]
    image[:, :, :4, 4:12] = 220 * hat[:, None]
    return image.to(torch.uint8)


class Data:
    """Held-out faces; half of them red, and half with a hat."""

    held_out = None
    spec = SPEC

    def __init__(self, count=60):
        number = torch.arange(count)
        red, hat = number % 2, number // 2 % 2
        self.attributes = torch.stack([red, 1 - red, hat], dim=1).float()

    def real_batches(self, batch_size, indices=None):
        boxes = torch.tensor([TOP, BODY]).expand(len(self.attributes), 2, 4)
        noisy = faces(self.attributes) // 2 + noise(len(self.attributes), 3, SIDE, SIDE) // 8
        everything = Items(
            image=noisy, attributes=self.attributes, boxes=boxes, label=self.attributes[:, 1].long()
        )
        yield from everything.batches(batch_size)


class Judge(Extractor):
    """Tells attributes by the colours where they show."""

    name, classes, attributes = "judge", ("blue", "red"), ATTRIBUTES

    def outputs(self, images):
        body, top = images[:, :, 4:, 2:14].float(), images[:, :, :4, 4:12].float()
        red, _, blue = body.mean((2, 3)).unbind(1)
        logits = torch.stack([red, blue, top.mean((1, 2, 3))], dim=1) - 50
        features = nn.functional.avg_pool2d(images.float(), 4).flatten(1)
        return Outputs(features, logits[:, [1, 0]], logits)

    def forward(self, images):
        return Extracted(*self.outputs(images)[:2])


def prepared(metric, data=None):
    metric.network = Judge()
    metric.check(data or Data(), 10)
    metric.prepare(data or Data(), torch.device("cpu"))
    return metric


# What is known of edits ---------------------------------------------------------------------------


def edits():
    """Four faces and what is asked of each: another colour twice, a hat, none any more."""
    own = torch.tensor([[1.0, 0, 0], [0, 1, 1], [1, 0, 0], [0, 1, 1]])
    wanted = torch.tensor([[0.0, 1, 0], [1, 0, 1], [1, 0, 1], [0, 1, 0]])
    image = faces(own)
    changed = torch.stack(
        [faces(torch.stack([*own.T[:2], 1 - own[:, 2]], dim=1))] * 3, dim=1
    )  # of the hat
    for number, colours in enumerate(([1.0, 0], [0.0, 1])):
        colours = torch.tensor(colours).expand(4, 2)
        changed[:, number] = faces(torch.cat([colours, own[:, 2:]], dim=1))
    boxes = torch.tensor([TOP, BODY]).expand(4, 2, 4)
    return Items(
        image=to_float(image), attributes=own, boxes=boxes, edits=to_float(changed), target=wanted
    )


def test_the_truth_is_the_edit_that_is_asked_for():
    inputs = edits()
    known = told(inputs, SPEC)
    assert torch.equal(known.truth, to_float(faces(inputs.target)))
    assert torch.equal(known.wanted, inputs.target) and "edits" not in known
    assert torch.equal(known.mask[:2], mask_of(torch.tensor([BODY, BODY]), SIDE, SIDE))
    assert torch.equal(known.mask[2:], mask_of(torch.tensor([TOP, TOP]), SIDE, SIDE))
    # Outside the mask, an edit is the image.
    assert torch.equal(known.truth * (1 - known.mask), inputs.image * (1 - known.mask))


def test_where_nothing_is_asked_for_the_image_is_the_truth_and_no_pixel_may_change():
    inputs = edits()
    known = told(inputs.but(target=inputs.attributes), SPEC)
    assert torch.equal(known.truth, inputs.image) and not known.mask.any()


def test_a_mask_that_is_there_stays_and_one_of_the_regions_name_is_finer_than_its_box():
    inputs = edits()
    given = torch.ones(4, 1, SIDE, SIDE)
    assert told(inputs.but(mask=given), SPEC).mask is given
    shape = (torch.arange(SIDE) % 2).expand(4, 1, SIDE, SIDE).float()
    known = told(inputs.but(body=shape), SPEC)
    assert torch.equal(known.mask[:2], shape[:2])
    assert torch.equal(known.mask[2:], mask_of(torch.tensor([TOP, TOP]), SIDE, SIDE))


def test_a_class_of_an_attributes_name_asks_for_it():
    inputs = edits()
    known = told(inputs.but(target=torch.tensor([1, 0, 0, 1])), SPEC)
    assert torch.equal(known.wanted[:2], inputs.target[:2])
    assert torch.equal(known.wanted[2:], inputs.attributes[2:]), "it has that colour"
    assert torch.equal(known.truth[:2], to_float(faces(inputs.target[:2])))
    other = SimpleNamespace(**{**vars(SPEC), "classes": ("cat", "dog")})
    assert "wanted" not in told(inputs.but(target=torch.tensor([1, 0, 0, 1])), other)


def test_what_is_put_on_is_asked_for_before_what_is_taken_off():
    own = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
    wanted = torch.tensor([[0.0, 0, 1], [0, 0, 0], [0, 1, 0]])
    asked, is_asked = asked_attribute(own, wanted)
    assert asked[:2].tolist() == [2, 2] and is_asked.tolist() == [True, True, False]


def test_a_mask_of_a_box_holds_the_pixels_whose_centres_lie_in_it():
    mask = mask_of(torch.tensor([[0.4, 1.6, 2.5, 3.0], [-3.0, -3, 99, 99]]), 4, 5)
    expected = torch.zeros(4, 5)
    expected[2, 0:2] = 1  # 2.5 is the edge of the third column's centre
    assert torch.equal(mask[0, 0], expected) and mask[1].all()


# Attributes ---------------------------------------------------------------------------------------


def test_success_by_attribute_and_direction_and_collateral_change():
    metric, inputs = prepared(AttributeSuccess()), told(edits(), SPEC)
    truth = values(metric, inputs.truth, inputs)
    assert truth == {
        "attribute success": 1,
        "add red": 1,
        "add blue": 1,
        "add hat": 1,
        "remove hat": 1,
        "collateral change": 0,
        "judge accuracy": 1,
    }
    identity = values(metric, inputs.image, inputs)
    assert identity == {**dict.fromkeys(truth, 0), "judge accuracy": 1}
    # One of four goes wrong; and a colour that was nobody's business changes with a hat.
    output = inputs.truth.clone()
    output[0] = inputs.image[0]
    output[2] = to_float(faces(torch.tensor([[0.0, 1, 1]])))[0]
    found = values(metric, output, inputs)
    assert (found["attribute success"], found["add blue"], found["add red"]) == (0.75, 0, 1)
    assert found["add hat"] == 1
    assert found["collateral change"] == pytest.approx(2 / 2 / 4)
    assert metric.direction("add hat") == metric.direction("attribute success") == "larger"
    assert metric.direction("collateral change") == "smaller"
    assert metric.direction("judge accuracy") is None


def test_a_judge_of_other_attributes_is_refused():
    metric = AttributeSuccess()
    metric.network = Judge()
    metric.check(Data(), 10)
    metric.network.attributes = ("glasses",)
    with pytest.raises(UserError, match="judge does not tell the attributes of squares"):
        metric.prepare(Data(), torch.device("cpu"))
    bare = SimpleNamespace(spec=SimpleNamespace(name="points", attributes=()))
    with pytest.raises(UserError, match="points has none: leave it out"):
        metric.check(bare, 10)


# Pixels -------------------------------------------------------------------------------------------


def test_distances_to_the_truth_inside_the_hole():
    inputs = told(edits(), SPEC)
    metric = Distance("inside", "truth")
    assert metric.needs == ("truth", "mask")
    assert values(metric, inputs.truth, inputs) == {"L1 inside of truth": 0}
    # 3 steps too bright in the hole, and anything outside.
    dark = inputs.but(truth=(inputs.truth * 0.9).clamp(max=0.9))
    output = dark.truth + 3 / 127.5 * dark.mask + 0.05 * (1 - dark.mask)
    found = values(metric, output, dark)
    assert found["L1 inside of truth"] == pytest.approx(3, abs=1e-9)
    assert values(PSNR("inside", "truth"), inputs.truth, inputs) == {"PSNR inside of truth": 100}
    # The area of a hole does not matter: a mean, not a sum.
    assert values(
        Distance(),
        to_float(noise(1, 3, 8, 8) // 2 + 4),
        Items(image=to_float(noise(1, 3, 8, 8) // 2)),
    ) == {"L1": 4}


def test_a_seam_of_the_image_itself_is_invisible():
    inputs = told(edits(), SPEC).but(image=noise(4, 3, SIDE, SIDE))
    found = values(Seam(), inputs.image, inputs)
    assert found == {"seam ratio": 1, "seam error": 0}


def test_a_seam_by_loops():
    mask = (torch.rand(5, 1, 6, 7, generator=keyed_generator("mask")) < 0.5).float()
    image, output = noise(5, 3, 6, 7), noise(5, 3, 6, 7, seed=1)
    sums = []
    for images in (output, image):
        total = 0
        for picture, hole in zip(images.int(), mask[:, 0], strict=True):
            for y in range(6):
                for x in range(7):
                    for down, right in ((1, 0), (0, 1)):
                        if y + down < 6 and x + right < 7:
                            there = hole[y + down, x + right]
                            step = picture[:, y + down, x + right] - picture[:, y, x]
                            total += (there != hole[y, x]).item() * step.abs().sum().item()
        sums.append(total)
    found = values(Seam(), output, Items(image=image, mask=mask), size=2)
    assert found["seam ratio"] == pytest.approx(sums[0] / sums[1], rel=1e-12)
    assert found["seam error"] == pytest.approx(abs(sums[0] / sums[1] - 1), rel=1e-12)
    for without in (torch.zeros_like(mask), torch.ones_like(mask)):
        with pytest.raises(UserError, match="nothing to compare"):
            values(Seam(), output, Items(image=image, mask=without))


# Groups -------------------------------------------------------------------------------------------


def test_a_crop_of_a_whole_image_is_the_image_and_a_crop_of_pixels_repeats_them():
    image = noise(2, 3, 8, 8)
    assert torch.equal(cut_out(image, torch.tensor([[0.0, 0, 8, 8]] * 2)), image)
    flat = image[:, :, ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3)
    cut = cut_out(flat, torch.tensor([[2.0, 4, 4, 6]] * 2))  # one flat block
    assert torch.equal(cut, flat[:, :, 4:5, 2:3].expand(-1, -1, 8, 8))
    mirrored = cut_out(image.flip(-1), torch.tensor([[2.0, 1, 7, 6]] * 2))
    straight = cut_out(image, torch.tensor([[1.0, 1, 6, 6]] * 2))
    assert (mirrored.flip(-1).int() - straight.int()).abs().max() <= 1


def asked_of(data):
    """Every face is asked to have a hat if it has none, or to lose it."""
    items = next(data.real_batches(1000))
    wanted = items.attributes.clone()
    wanted[:, 2] = 1 - wanted[:, 2]
    return items.but(wanted=wanted, target=1 - items.label), wanted


def test_edits_that_look_like_the_real_ones_are_at_the_floor_and_others_far_above():
    data = Data(240)
    inputs, wanted = asked_of(data)
    metric = prepared(RegionDistance(smallest=20), data)
    good = faces(wanted) // 2 + noise(240, 3, SIDE, SIDE, seed=5) // 8
    found = {
        name: values(metric, output, inputs)
        for name, output in (("good", good), ("identity", inputs.image))
    }
    for name in ("region FID", "region KID"):
        floor, value = found["good"][f"{name} floor"], found["good"][name]
        assert found["identity"][f"{name} floor"] == floor
        assert found["identity"][name] > 20 * max(abs(value), abs(floor))
    # What happens outside the boxes is not looked at.
    elsewhere = good.clone()
    elsewhere[:, :, :4, :3] = 255
    assert values(metric, elsewhere, inputs) == pytest.approx(found["good"], rel=1e-6)


def test_small_groups_count_for_nothing():
    inputs, _ = asked_of(Data(40))
    with pytest.raises(UserError, match="no group with 21 images on both sides"):
        values(prepared(RegionDistance(smallest=21), Data(40)), inputs.image, inputs)
    without = SimpleNamespace(**{**vars(SPEC), "regions": {}})
    with pytest.raises(UserError, match="no regions that show attributes"):
        RegionDistance().check(SimpleNamespace(spec=without), 10)


def test_the_mean_over_classes_of_a_distance_to_the_real_images_of_each():
    data = Data(240)
    inputs, _ = asked_of(data)
    metric = prepared(ClassDistance(smallest=20), data)
    found = values(metric, inputs.image, inputs.but(target=inputs.label))
    assert found["mFID"] == pytest.approx(0, abs=1e-6), "the very images"
    other = values(metric, inputs.image, inputs)
    assert other["mFID"] > 20 * found["mFID floor"]
    assert other["mKID"] > 20 * abs(found["mKID floor"])


# Few shots ----------------------------------------------------------------------------------------


class Named(Extractor):
    """Logits that stand in the first row of an image, of classes in another order."""

    name, classes = "named", tuple("gfedcba")

    def forward(self, images):
        logits = images[:, 0, 0, :7].float()
        return Extracted(logits, logits)


def test_accuracy_among_all_classes_and_among_those_kept_from_training():
    classes = tuple("abcdefg")
    data = SimpleNamespace(
        spec=SimpleNamespace(name="letters", classes=classes[:1]),
        held_out=SimpleNamespace(spec=SimpleNamespace(classes=classes)),
    )
    metric = TranslationAccuracy()
    metric.network = Named()
    metric.check(data, 10)
    metric.prepare(data, torch.device("cpu"))
    # Logits of g f e d c b a; asked for are b (number 1) and g (number 6).
    rows = torch.tensor([[1, 2, 3, 4, 5, 8, 9], [3, 9, 8, 7, 6, 5, 4]]).to(torch.uint8)
    output = rows[:, None, None].expand(2, 3, 7, 7)
    inputs = Items(image=output, label=torch.tensor([0, 0]), target=torch.tensor([1, 6]))
    found = values(metric, output, inputs)
    assert found == {
        "top-1": 0,  # a is likelier than b, f than g
        "top-5": 0.5,  # five are likelier than g
        "top-1 among targets": 0.5,  # b, once a is none
        "top-5 among targets": 0.5,
        "class judge accuracy": 0.5,
    }
    metric.network.classes = tuple("abc")
    with pytest.raises(UserError, match="does not tell all classes of letters"):
        metric.prepare(data, torch.device("cpu"))


def test_five_of_five_classes_are_no_score():
    data = SimpleNamespace(spec=SimpleNamespace(name="x", classes=tuple("abcde")), held_out=None)
    metric = TranslationAccuracy()
    metric.network = Named()
    metric.prepare(data, torch.device("cpu"))
    inputs = Items(
        image=noise(3, 3, 7, 7), label=torch.zeros(3).long(), target=torch.ones(3).long()
    )
    assert set(values(metric, inputs.image, inputs)) == {"top-1", "class judge accuracy"}


# LPIPS --------------------------------------------------------------------------------------------


def test_lpips_is_refused_where_its_weights_are_not_at_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    data = SimpleNamespace(spec=SimpleNamespace(name="faces", shape=(3, 64, 64)))
    with pytest.raises(UserError, match=r"lpips needs https://.*alexnet.*: put it there"):
        LPIPS().check(data, 10)
    (tmp_path / "checkpoints").mkdir()
    name = models.AlexNet_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    (tmp_path / "checkpoints" / name).touch()
    LPIPS().check(data, 10)
    data.spec.shape = (3, 16, 16)
    with pytest.raises(UserError, match="at least 32 pixels a side"):
        LPIPS().check(data, 10)


def test_lpips_sees_inside_the_mask_alone(monkeypatch):
    torch.manual_seed(0)
    trunk = models.alexnet(weights=None)
    monkeypatch.setattr(models, "alexnet", lambda **_: trunk)
    metric, whole = LPIPS(region="inside"), LPIPS()
    for each in (metric, whole):
        each.prepare(None, torch.device("cpu"))
    image, output = noise(3, 3, 32, 32), noise(3, 3, 32, 32, seed=1)
    mask = mask_of(torch.tensor([[8.0, 8, 24, 24]] * 3), 32, 32)
    inputs = Items(image=image, mask=mask)
    inside = torch.where(mask > 0, output, image)
    assert values(whole, image, inputs) == {"LPIPS-alex": 0}
    found = values(metric, output, inputs)["LPIPS-alex inside"]
    assert found == pytest.approx(values(whole, inside, inputs)["LPIPS-alex"], rel=1e-5)
    assert 0 < found < values(whole, output, inputs)["LPIPS-alex"]
