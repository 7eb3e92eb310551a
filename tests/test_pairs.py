"""Metrics of pairs, and games that are fed with images."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from scoring import PlainData, Sampled, evaluator, images
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)
from train_cli import composed
from two_ranks import on_two_ranks

from saddlepoint.datamodules.pixels import to_float
from saddlepoint.errors import UserError
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.fakes import GeneratorFakes, GivenFakes
from saddlepoint.evaluation.metrics.fid import FID
from saddlepoint.evaluation.metrics.pairs import PairValues
from saddlepoint.evaluation.metrics.preservation import Preservation
from saddlepoint.evaluation.metrics.psnr import PSNR
from saddlepoint.evaluation.metrics.ssim import SSIM
from saddlepoint.items import Items
from saddlepoint.runs import evaluate

SHAPE = (3, 16, 16)


def box(count, top=4, bottom=12):
    """Masks (n, 1, 16, 16) with a box inside."""
    mask = torch.zeros(count, 1, 16, 16)
    mask[:, :, top:bottom, 4:12] = 1
    return mask


def values(metric, output, inputs, size=100):
    collected = PairValues(metric)
    for start in range(0, len(output), size):
        part = slice(start, start + size)
        collected.update(output[part], inputs.part(part))
    collected.merge_ranks()
    return collected.compute()


@pytest.fixture
def pair():
    """Inputs of which each output differs by some steps, more so inside the mask."""
    image = images(6, 1, SHAPE).clamp(30, 225)
    output = image.float() + 5 * torch.randn(6, *SHAPE) + 10 * torch.randn(6, *SHAPE) * box(6)
    return output.round().clamp(0, 255).to(torch.uint8), Items(image=image, mask=box(6))


# Values ------------------------------------------------------------------------------------------


def test_preservation_is_the_largest_change_outside_the_mask():
    image = images(4, 1, SHAPE).clamp(20, 200)
    inputs = Items(image=to_float(image), mask=box(4))
    exact = image.clone()
    exact[:, :, 4:12, 4:12] = 0  # whatever happens inside
    assert values(Preservation(), to_float(exact), inputs) == {"preservation": 0}
    for row, column, steps in ((0, 0, 7), (12, 11, -3)):  # the mask's edge is outside
        changed = exact.clone()
        changed[2, 1, row, column] += steps
        assert values(Preservation(), to_float(changed), inputs) == {"preservation": abs(steps)}
    # Less than half a step rounds to none: images are stored in 8 bits.
    nearly = to_float(exact) + 0.4 / 127.5
    assert values(Preservation(), nearly, inputs) == {"preservation": 0}


def test_psnr_equals_torchmetrics(pair):
    output, inputs = pair
    expected = [
        peak_signal_noise_ratio(a.double(), b.double(), data_range=255.0).item()
        for a, b in zip(output, inputs.image, strict=True)
    ]
    mean = sum(expected) / len(expected)
    # torchmetrics takes the logarithm of the range in float32.
    assert values(PSNR(), output, inputs) == {"PSNR": pytest.approx(mean, rel=1e-6)}


def test_ssim_equals_torchmetrics(pair):
    output, inputs = pair
    expected = structural_similarity_index_measure(
        output.double(), inputs.image.double(), data_range=255.0
    )
    assert values(SSIM(), output, inputs) == {"SSIM": pytest.approx(expected.item(), rel=1e-9)}


def test_regions_by_loops(pair):
    output, inputs = pair
    for region, inside in (("inside", True), ("outside", False)):
        ratios = []
        for a, b, mask in zip(output, inputs.image, inputs.mask, strict=True):
            chosen = (mask[0] > 0.5) == inside
            errors = (a.double() - b.double())[:, chosen]
            ratios.append(10 * math.log10(255**2 / errors.square().mean().item()))
        name = f"PSNR {region}"
        expected = pytest.approx(sum(ratios) / len(ratios), rel=1e-9)
        assert values(PSNR(region), output, inputs) == {name: expected}
    whole = Items(image=inputs.image, mask=torch.ones(6, 1, 16, 16))
    assert values(SSIM("inside"), output, whole)["SSIM inside"] == pytest.approx(
        values(SSIM(), output, inputs)["SSIM"], rel=1e-12
    )
    both = [
        values(SSIM(region), output, inputs)[f"SSIM {region}"] for region in ("inside", "outside")
    ]
    share = box(1).mean().item()
    mixed = share * both[0] + (1 - share) * both[1]
    assert mixed == pytest.approx(values(SSIM(), output, inputs)["SSIM"], rel=1e-9)
    assert both[0] < both[1]


def test_pairs_without_any_error_are_finite(pair):
    _, inputs = pair
    same = to_float(inputs.image)
    assert values(PSNR(), same, inputs) == {"PSNR": 100}
    assert values(PSNR(ceiling=60.0), same, inputs) == {"PSNR": 60}
    assert values(SSIM(), same, inputs) == {"SSIM": pytest.approx(1, rel=1e-12)}


def test_pairs_with_nothing_to_compare_count_for_nothing(pair):
    output, inputs = pair
    mask = box(6)
    mask[3:] = 1
    some = Items(image=inputs.image, mask=mask)
    for metric in (Preservation(), PSNR("outside"), SSIM("outside")):
        found = values(metric, output, some)
        assert found == values(metric, output[:3], some.part(slice(3)))
        none = Items(image=inputs.image, mask=torch.ones(6, 1, 16, 16))
        with pytest.raises(UserError, match="nothing to compare in any of 6 pairs"):
            values(metric, output, none)


@pytest.mark.parametrize("size", [1, 4])
def test_values_do_not_depend_on_the_batch_size(pair, size):
    output, inputs = pair
    for metric in (Preservation(), PSNR("inside"), SSIM()):
        expected = pytest.approx(values(metric, output, inputs), rel=1e-12)
        assert values(metric, output, inputs, size) == expected


def test_wrong_options_are_refused():
    for kind in (PSNR, SSIM):
        with pytest.raises(UserError, match="region=within is not to be had: give image or"):
            kind("within")
    with pytest.raises(UserError, match="at least 11 pixels"):
        SSIM().check(PlainData(images(3, 1)), 3)
    with pytest.raises(UserError, match="compares images"):
        PSNR().check(PlainData(torch.zeros(3, 2)), 3)


# A game that is fed with images ------------------------------------------------------------------


class Translation:
    """Images in, images out: what is inside the mask becomes brighter."""

    is_averaged, needs_data = False, True
    condition = SimpleNamespace(kind="attributes", num_classes=0)

    def __init__(self, spill=0):
        self.spill = spill

    def inputs_at(self, positions, seed=None, data=None):
        source = data.held_out or data
        chosen = torch.tensor([position % source.spec.num_items for position in positions])
        (items,) = source.real_batches(len(chosen), chosen)
        target = torch.ones(len(chosen), 1)
        return Items(image=to_float(items.image), mask=box(len(chosen)), target=target)

    def sample(self, inputs):
        image = inputs.image + 20 / 127.5 * inputs.mask * inputs.target[:, :, None, None]
        image[:, :, 0, 0] += self.spill / 127.5
        return image


PAIRS = {"preservation": {}, "psnr": {"region": "inside"}, "ssim": None}


def data(seed=1):
    return PlainData(images(40, seed, SHAPE).clamp(30, 200))


def test_a_protocol_of_pairs_alone_needs_no_extractor():
    score = Evaluator(None, PAIRS, num_fake=20, batch_size=7)
    fakes = GeneratorFakes(Translation(spill=3), data())
    result = score.prepare(data(), fakes=fakes).score(fakes)
    assert result.means["preservation"] == 3
    assert result.means["PSNR inside"] == pytest.approx(20 * math.log10(255 / 20), rel=1e-9)
    assert 0 < result.means["SSIM"] < 1
    assert result.directions == {
        "preservation": "smaller",
        "PSNR inside": "larger",
        "SSIM": "larger",
    }
    assert result.ranking == ("preservation",)
    protocol = result.protocol
    assert (protocol.extractor, protocol.num_real, protocol.num_fake) == ("none", 0, 20)
    assert protocol.inputs == {"dataset": "squares", "digest": data().spec.digest}
    assert json.loads(json.dumps(protocol.as_dict())) == protocol.as_dict()


def test_pairs_and_sets_come_from_one_pass():
    scores = {"fid": {}, "preservation": {}}
    score = evaluator(scores=scores, num_fake=20, batch_size=8).prepare(data())
    fakes = GeneratorFakes(Translation(), data())
    result = score.score(fakes)
    assert list(result.means) == ["FD/pixels", "preservation"]
    assert result.means["preservation"] == 0 and result.ranking == ("FD/pixels",)
    alone = evaluator(num_fake=20).prepare(data()).score(fakes)
    assert result.means["FD/pixels"] == pytest.approx(alone.means["FD/pixels"], rel=1e-9)
    # What published protocols do to images on their way to the extractor does not reach pairs.
    stretched = evaluator(scores=scores, num_fake=20, stretch="set", jpeg=75).prepare(data())
    assert stretched.score(fakes).means["preservation"] == 0


def test_inputs_are_held_out_where_the_data_have_some_and_move_the_fingerprint():
    score = Evaluator(None, PAIRS, num_fake=20)
    split = data()
    split.held_out = data(7)
    split.held_out.spec.name = "held out"
    split.held_out.spec.annotations = {"label": "of classes", "mask": "of masks"}
    seen, held_out = (GeneratorFakes(Translation(), one) for one in (data(), split))
    protocols = [score.prepare(data()).protocol_for(fakes) for fakes in (seen, held_out)]
    digest = split.held_out.spec.digest
    assert protocols[1].inputs == {"dataset": "held out", "digest": digest, "mask": "of masks"}
    assert protocols[0].fingerprint != protocols[1].fingerprint


def test_where_nothing_was_put_in_pairs_are_refused():
    score = Evaluator(None, PAIRS, num_fake=20)
    for fakes in (Sampled(), GivenFakes(data())):
        for refuse in (
            lambda fakes=fakes: score.check(data(), fakes=fakes),
            lambda fakes=fakes: score.prepare(data()).score(fakes),
        ):
            with pytest.raises(UserError, match="here is no image: leave that score out"):
                refuse()

    class Unmasked(Translation):
        def inputs_at(self, positions, seed=None, data=None):
            inputs = super().inputs_at(positions, seed, data)
            return Items({name: field for name, field in inputs.items() if name != "mask"})

    with pytest.raises(UserError, match="image and mask it was made from, and here is no mask"):
        score.check(data(), fakes=GeneratorFakes(Unmasked(), data()))
    Evaluator(None, {"psnr": {}}, num_fake=20).check(data(), GeneratorFakes(Unmasked(), data()))


def test_a_command_refuses_pairs_of_images_in_one_sentence(tmp_path):
    from PIL import Image

    for k in range(4):
        Image.new("RGB", (16, 16), (9 * k, 9, 9)).save(tmp_path / f"{k}.png")
    words = [f"images={tmp_path}", f"reference={tmp_path}", "protocol=all_images"]
    words += ["protocol.extractor=null", "~protocol.scores.fid", "~protocol.scores.kid"]
    with pytest.raises(UserError, match="psnr compares each output with the image"):
        evaluate.evaluate(composed([*words, "+protocol.scores.psnr={}"], "evaluate"))


def test_two_kinds_of_one_metric_are_told_apart():
    scores = {"whole": PSNR(), "inside": PSNR("inside"), "fid": FID()}
    protocol = evaluator(scores=scores, num_fake=20).prepare(data()).protocol
    assert set(protocol.scores) == {"psnr (PSNR)", "psnr (PSNR inside)", "fid"}
    with pytest.raises(UserError, match="both be called PSNR"):
        Evaluator(None, {"a": PSNR(), "b": PSNR(ceiling=9.0)}).check(data())


TWO_RANKS = """
import json
from test_pairs import PAIRS, Translation, data
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.fakes import GeneratorFakes
score = Evaluator(None, PAIRS, num_fake=21, batch_size=4).prepare(data())
print(json.dumps(score.score(GeneratorFakes(Translation(spill=3), data())).means))
"""


def test_two_processes_score_as_one(tmp_path):
    outputs = [json.loads(output) for output in on_two_ranks(TWO_RANKS, tmp_path)]
    score = Evaluator(None, PAIRS, num_fake=21).prepare(data())
    expected = score.score(GeneratorFakes(Translation(spill=3), data())).means
    assert outputs[0] == outputs[1] == pytest.approx(expected, rel=1e-12)
