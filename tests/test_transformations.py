"""The transformations of DAG: exact where they can be, keyed where they are drawn."""

from functools import partial

import pytest
import torch

from saddlepoint.errors import UserError
from saddlepoint.losses.transformations import (
    CUT_OUT,
    IDENTITY,
    POLICIES,
    ROTATE_90,
    ROTATE_180,
    ROTATE_270,
    TRANSLATED,
    crop,
    cut_out,
    shift,
)
from saddlepoint.randomness import Draws

ALL_POLICIES = list(POLICIES)


@pytest.mark.parametrize("policy", ALL_POLICIES)
@pytest.mark.parametrize("size", [(16, 16), (9, 9), (9, 14)])
def test_every_transformation_keeps_the_shape_and_passes_gradients(policy, size):
    for transformation in POLICIES[policy]:
        if size[0] != size[1] and transformation in (ROTATE_90, ROTATE_270):
            with pytest.raises(UserError, match="square"):
                transformation(torch.zeros(2, 3, *size), Draws(0))
            continue
        images = torch.rand(4, 3, *size, requires_grad=True)
        transformed = transformation(images, Draws(0))
        assert transformed.shape == images.shape
        transformed.sum().backward()
        assert images.grad.abs().sum() > 0


def test_policies_have_the_published_lengths_and_begin_with_the_identity():
    lengths = {name: len(policy) for name, policy in POLICIES.items()}
    assert lengths == {
        "rotation": 4,
        "fliprot": 4,
        "fliprot180": 4,
        "flipping": 4,
        "cropping": 5,
        "cropping_bilinear": 5,
        "translation": 2,
        "cutout": 2,
    }
    assert all(policy[0] is IDENTITY for policy in POLICIES.values())
    # Which fourth element it is: a quarter turn (PyTorch), a half turn (TensorFlow).
    assert POLICIES["fliprot"][3] is ROTATE_90
    assert POLICIES["fliprot180"][3] is ROTATE_180


def test_rotations_and_flips_are_exact_permutations():
    images = torch.rand(2, 3, 7, 7)
    _, r90, r180, r270 = (partial(t, draws=None) for t in POLICIES["rotation"])
    assert torch.equal(r90(r90(r90(r90(images)))), images)
    assert torch.equal(r90(r90(images)), r180(images))
    assert torch.equal(r270(r90(images)), images)
    assert torch.equal(r90(images)[..., 0, :], images[..., :, -1])  # counter-clockwise
    _, upside_down, mirrored, both = (partial(t, draws=None) for t in POLICIES["flipping"])
    assert torch.equal(upside_down(images)[..., 0, :], images[..., -1, :])
    assert torch.equal(mirrored(images)[..., 0], images[..., -1])
    assert torch.equal(upside_down(mirrored(images)), both(images))
    for t in (r90, r180, r270, upside_down, mirrored, both):
        assert torch.equal(t(images).flatten().sort()[0], images.flatten().sort()[0])
    for flip in (upside_down, mirrored, both):
        assert torch.equal(flip(flip(images)), images)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_crops_show_a_corner_of_three_quarters(mode):
    constant = torch.full((1, 1, 9, 11), 0.3)
    images = torch.arange(64.0).view(1, 1, 8, 8)
    for bottom in (False, True):
        for right in (False, True):
            torch.testing.assert_close(crop(constant, bottom, right, mode), constant)
            shown = crop(images, bottom, right, mode)
            part = images[..., 2 * bottom : 2 * bottom + 6, 2 * right : 2 * right + 6]
            assert shown[0, 0, 0, 0] == part[0, 0, 0, 0]
            assert shown[0, 0, -1, -1] == part[0, 0, -1, -1]
            if mode == "nearest":
                nearest = [i * 6 // 8 for i in range(8)]
                assert torch.equal(shown, part[..., nearest, :][..., nearest])
    names = [t.name.split(" to the ")[1].split(",")[0] for t in POLICIES["cropping"][1:]]
    assert names == ["top left", "top right", "bottom left", "bottom right"]


def test_shift_moves_each_image_by_its_own_amount():
    images = torch.rand(3, 2, 5, 6)
    moved = shift(images, torch.tensor([0, 2, -1]), torch.tensor([0, -1, 3]))
    assert torch.equal(moved[0], images[0])
    expected = torch.zeros(2, 5, 6)
    expected[:, 2:, :5] = images[1, :, :3, 1:]
    assert torch.equal(moved[1], expected)
    expected = torch.zeros(2, 5, 6)
    expected[:, :4, 3:] = images[2, :, 1:, :3]
    assert torch.equal(moved[2], expected)


def test_translation_reaches_an_eighth_of_the_side_and_no_further():
    images = torch.ones(400, 1, 16, 16)
    moved = TRANSLATED(images, Draws(0))
    rows = 16 - moved.amax((1, 3)).sum(1)  # rows uncovered
    columns = 16 - moved.amax((1, 2)).sum(1)
    for uncovered in (rows, columns):
        assert set(uncovered.int().tolist()) == {0, 1, 2}
    assert len({tuple(image.flatten().tolist()) for image in moved}) == 25


def test_cutout_covers_a_square_of_half_the_side():
    images = torch.ones(1, 1, 6, 8)
    cut = cut_out(images, torch.tensor([-1]), torch.tensor([5]), 3, 4)
    expected = torch.ones(6, 8)
    expected[:2, 5:] = 0
    assert torch.equal(cut[0, 0], expected)

    images = torch.ones(500, 1, 16, 16)
    cut = CUT_OUT(images, Draws(0))
    covered = (1 - cut).sum((1, 2, 3))
    assert covered.max() == 64  # 8 x 8, all inside
    assert covered.min() == 16  # its middle in a corner
    assert cut.mean(0).max() < 1  # every pixel gets covered


def test_random_transformations_differ_between_images_and_are_keyed():
    images = torch.rand(1, 3, 16, 16).expand(8, 3, 16, 16)
    for random in (TRANSLATED, CUT_OUT):
        transformed = random(images, Draws(0, 1))
        assert len({tuple(image.flatten().tolist()) for image in transformed}) > 1
        assert torch.equal(transformed, random(images, Draws(0, 1)))
        assert not torch.equal(transformed, random(images, Draws(0, 2)))
