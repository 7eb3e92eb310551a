"""Holes and windows, and what images filled in at holes are measured by."""

import itertools

import pytest
import torch
from lamps import SHAPE, Lamps

from saddlepoint.errors import UserError
from saddlepoint.gans.holes import MaskHoles, RandomHoles, RegionHoles
from saddlepoint.gans.masks import bounds, crop, dilated, windows
from saddlepoint.gans.networks.edits import Edits
from saddlepoint.items import Items
from saddlepoint.losses.inpainting import l1, seam_variation, spatial_discount
from saddlepoint.randomness import keyed_generator

SIZE = (20, 24)  # of images, height and width


def items_with(*boxes):
    boxes = torch.tensor(boxes, dtype=torch.float32)
    return Items(image=torch.zeros(len(boxes), 3, *SIZE), boxes=boxes)


def masks(holes, items, region=0, jitter=False, seed=0):
    noise = torch.rand(items.count, holes.numbers, generator=keyed_generator("noise", seed))
    region = torch.full((items.count,), region)
    return holes.masks(items, region, noise, jitter=jitter)


def test_a_box_is_the_pixels_between_its_edges_cut_at_the_image():
    items = items_with([[2, 3, 7, 5]], [[20, 18, 30, 30]])
    mask = masks(RegionHoles(), items)
    expected = torch.zeros(2, 1, *SIZE)
    expected[0, 0, 3:5, 2:7] = 1
    expected[1, 0, 18:, 20:] = 1
    assert torch.equal(mask, expected)


def test_the_hole_of_a_region_is_in_its_own_box():
    items = items_with([[0, 0, 4, 4], [10, 10, 16, 12]])
    assert masks(RegionHoles(), items, 0)[0, 0, :4, :4].all()
    assert torch.equal(bounds(masks(RegionHoles(), items, 1)), torch.tensor([[10, 10, 16, 12]]))


def test_an_ellipse_touches_the_sides_of_its_box_and_has_its_area():
    items = Items(image=torch.zeros(1, 3, 200, 200), boxes=torch.tensor([[[20.0, 40, 180, 120]]]))
    mask = masks(RegionHoles(shape="ellipse"), items)
    assert (bounds(mask) - torch.tensor([[20, 40, 180, 120]])).abs().max() <= 1
    assert mask.sum().item() == pytest.approx(torch.pi * 80 * 40, rel=0.01)


def test_free_forms_lie_in_their_boxes_differ_and_depend_on_the_noise_alone():
    items = items_with(*[[[3, 2, 17, 14]]] * 8)
    holes = RegionHoles(shape="free_form")
    mask = masks(holes, items)
    inside = masks(RegionHoles(), items)
    assert not (mask > inside).any()
    assert (mask.flatten(1).sum(1) > 0.1 * inside.flatten(1).sum(1)).all()
    assert len({tuple(m.flatten().tolist()) for m in mask}) == 8
    assert torch.equal(mask, masks(holes, items))
    assert not torch.equal(mask, masks(holes, items, seed=1))


def test_boxes_move_and_grow_in_training_alone_and_no_further_than_they_may():
    items = items_with(*[[[6, 5, 16, 13]]] * 200)
    holes = RegionHoles(move=0.1, grow=(0.8, 1.2), most=11)
    assert (bounds(masks(holes, items)) == torch.tensor([6, 5, 16, 13])).all()
    left, top, right, bottom = bounds(masks(holes, items, jitter=True)).T
    widths, heights = right - left, bottom - top
    assert set(widths.tolist()) == {8, 9, 10, 11}  # 12 is more than may be
    assert heights.min() >= 6 and heights.max() <= 10
    middle = (left + right) / 2
    assert (middle - 11).abs().max() <= 1.5 and middle.std() > 0.3


def test_random_rectangles_are_of_the_sizes_asked_for_and_inside():
    items = items_with(*[[[0, 0, 1, 1]]] * 300)
    left, top, right, bottom = bounds(masks(RandomHoles((0.25, 0.5)), items)).T
    assert (right - left).unique().tolist() == list(range(6, 13))
    assert (bottom - top).unique().tolist() == list(range(5, 11))
    assert left.min() == top.min() == 0 and right.max() == SIZE[1] and bottom.max() == SIZE[0]


def test_masks_of_the_data_grow_by_whole_pixels():
    mask = torch.zeros(1, 1, *SIZE)
    mask[0, 0, 10, 0] = 1
    grown = masks(MaskHoles(grow=2), Items(image=torch.zeros(1, 3, *SIZE), mask=mask))
    assert torch.equal(bounds(grown), torch.tensor([[0, 8, 3, 13]])) and grown.sum() == 15
    assert torch.equal(dilated(mask, 0), mask)


class TurnedOver(Lamps):
    def items_at(self, indices):
        items = super().items_at(indices)
        return items.but(mask=1 - items.mask)


def test_what_holes_are_taken_from_is_asked_for_and_how_large_they_get_is_known():
    data = Lamps(40, 0)
    condition = Edits.of_data(data.spec)
    assert RegionHoles().largest_side(data, condition) == 6
    mask = data.items_at(torch.arange(40)).mask
    edges = bounds(dilated(mask, 1))
    largest = (edges[:, 2:] - edges[:, :2]).max().item()
    assert MaskHoles(grow=1).largest_side(data, condition) == largest
    assert RandomHoles().largest_side(data, condition) == SHAPE[1] / 2
    for holes, sentence in (
        (RegionHoles(["lmap"]), "the region lmap, which the data lack; did you mean lamp"),
        (MaskHoles(attributes=["brigth"]), "the attribute brigth, .* did you mean bright"),
    ):
        with pytest.raises(UserError, match=sentence):
            holes.allowed(condition)
    assert MaskHoles(attributes=["red"]).allowed(condition).tolist() == [
        [False, True, False, False, False]
    ]
    assert RegionHoles(["sign"]).allowed(condition).any(1).tolist() == [False, True]
    with pytest.raises(UserError, match="have no mask hair"):
        MaskHoles("hair").largest_side(data, condition)
    with pytest.raises(UserError, match=r"cover 8\d % of the images"):
        MaskHoles().largest_side(TurnedOver(40, 0), condition)
    with pytest.raises(UserError, match="say where regions are"):
        RegionHoles().allowed(Edits(2, 4, names=("a", "b")))


@pytest.mark.parametrize("side", [7, 12, 20])
def test_a_window_has_the_whole_hole_at_any_corner_and_is_cut_from_every_channel(side):
    corners = [
        [x, y, x + w, y + h]
        for x, y, (w, h) in itertools.product(
            (0, 5, SIZE[1] - 7), (0, 9, SIZE[0] - 7), ((7, 7), (3, 7), (1, 1))
        )
    ]
    items = items_with(*[[corner] for corner in corners])
    mask = masks(RegionHoles(), items)
    where = windows(mask, side)
    assert crop(mask, where, side).shape == (len(corners), 1, side, side)
    assert torch.equal(crop(mask, where, side).sum((1, 2, 3)), mask.sum((1, 2, 3)))
    images = torch.rand(len(corners), 3, *SIZE, requires_grad=True)
    for image, (x, y), cut in zip(images, where, crop(images, where, side), strict=True):
        assert torch.equal(cut, image[:, y : y + side, x : x + side])
    crop(images, where, side).sum().backward()  # gradients fall where they were cut
    assert images.grad.sum().item() == images.shape[0] * 3 * side**2


def test_a_window_around_nothing_is_in_the_middle():
    assert windows(torch.zeros(1, 1, *SIZE), 10).tolist() == [[7, 5]]


# Losses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("box", [[3, 4, 9, 6], [0, 0, 24, 20], [5, 5, 6, 6]])
def test_a_constant_error_counts_the_same_in_any_hole(box):
    mask = masks(RegionHoles(), items_with([box], [[2, 2, 8, 5]]))
    images = torch.rand(2, 3, *SIZE)
    torch.testing.assert_close(l1(images + 0.3, images, mask), torch.tensor(0.3))


def test_an_empty_hole_counts_nothing_and_what_lies_outside_neither():
    drawn = torch.full((1, 3, *SIZE), torch.nan, requires_grad=True)
    loss = l1(drawn, torch.zeros(1, 3, *SIZE), torch.zeros(1, 1, *SIZE))
    loss.backward()
    assert loss == 0 and (drawn.grad == 0).all()
    mask = masks(RegionHoles(), items_with([[4, 4, 9, 9]]))
    drawn = torch.where(mask > 0, 1.0, torch.inf).expand(-1, 3, -1, -1).clone().requires_grad_()
    loss = l1(drawn, torch.zeros(1, 3, *SIZE), mask)
    loss.backward()
    assert loss == 1
    assert torch.equal(drawn.grad != 0, (mask > 0).expand(-1, 3, -1, -1))


@pytest.mark.parametrize("box", [[3, 4, 12, 10], [6, 6, 7, 7], [2, 1, 22, 19]])
def test_the_discount_falls_with_the_distance_to_the_border(box):
    mask = masks(RegionHoles(), items_with([box]))
    x0, y0, x1, y1 = box
    for y, x in itertools.product(range(y0, y1), range(x0, x1)):
        distance = min(x - x0, x1 - 1 - x, y - y0, y1 - 1 - y)
        found = spatial_discount(mask, 0.9)[0, 0, y, x].item()
        assert found == pytest.approx(0.9**distance, rel=1e-5)


def test_variation_is_that_of_the_band_over_the_border():
    mask = masks(RegionHoles(), items_with([[8, 6, 16, 14]]))
    assert seam_variation(torch.ones(1, 3, *SIZE), mask) == 0
    inside = torch.zeros(1, 3, *SIZE)
    inside[..., 10, 12] = 1  # in the hole, and more than two pixels from its border
    assert seam_variation(inside, mask) == 0
    # Over the band: rows 4 to 15 and columns 6 to 17 without the inner 4 x 4; a step of 1 at the
    # hole's border is crossed by 4 * 8 pairs of neighbours.
    pairs = 2 * (12 * 11 - 4 * 5)
    found = seam_variation(mask.expand(-1, 3, -1, -1), mask)
    torch.testing.assert_close(found, torch.tensor(4 * 8 / pairs))
    assert seam_variation(torch.rand(1, 3, *SIZE), torch.zeros_like(mask)) == 0
