import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.utils import make_grid

from saddlepoint.runs.panels.grids import slerp, truncate
from saddlepoint.runs.pictures import GAP, HEADING, enlarged, picture_of, save, to_uint8


def test_a_grid_shows_every_image_enlarged(tmp_path):
    images = torch.zeros(6, 3, 32, 32)
    images[0], images[5] = 1.0, -1.0
    picture = Image.open(save(picture_of(images, columns=3), tmp_path / "grid.png"))
    assert picture.size == (3 * 66 + 2, 2 * 66 + 2)
    assert picture.getpixel((34, 34)) == (255, 255, 255)
    assert picture.getpixel((2 * 66 + 34, 66 + 34)) == (0, 0, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


@pytest.mark.parametrize("shape", [(7, 3, 8, 16), (5, 1, 64, 64), (1, 1, 70, 70), (2, 3, 5, 5)])
def test_a_grid_is_that_of_torchvision(shape):
    images = 2 * torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 1
    grid = make_grid(enlarged(to_uint8(images)), nrow=3, padding=GAP, pad_value=255)
    assert np.array_equal(np.asarray(picture_of(images, columns=3)), grid.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("shape", [(4, 1, 16, 16), (100, 2)])
def test_grey_images_and_points_have_pictures_too(shape, tmp_path):
    assert save(picture_of(torch.rand(shape)), tmp_path / "a" / "b.png").stat().st_size > 100


def test_what_belongs_together_stands_side_by_side():
    """Grey beside black, 7 of each, in two blocks of 4 rows with headings above."""
    pair = {"input": torch.zeros(7, 3, 32, 32), "output of one": -torch.ones(7, 1, 32, 32)}
    picture = np.asarray(picture_of(pair).convert("L"))
    images = picture[HEADING + 3 * GAP :]
    assert images.shape[0] == 4 * (64 + GAP)
    assert (images == 0).sum() == (images == 128).sum() == 7 * 64 * 64
    assert (picture[: HEADING + 3 * GAP] < 255).any()
    # The first pair: grey left of black.
    assert images[32, GAP + 32] == 128
    assert images[32, (images[32] == 0).argmax()] == 0 and (images[32] == 0).argmax() > 64
    alone = picture_of({"samples": pair["input"]})
    assert alone.tobytes() == picture_of(pair["input"]).tobytes()


def test_bytes_are_rounded_and_clamped():
    assert to_uint8(torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0])).tolist() == [0, 0, 128, 255, 255]


def test_slerp_keeps_the_norm_and_meets_its_ends():
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])
    assert torch.allclose(slerp(a, b, torch.tensor(0.0)), a)
    assert torch.allclose(slerp(a, b, torch.tensor(1.0)), b, atol=1e-6)
    assert slerp(a, b, torch.tensor(0.5)).norm().item() == pytest.approx(3.0)


def test_truncated_latents_follow_the_truncated_normal():
    latents = truncate(torch.randn(100_000), 1.0)
    assert latents.abs().max() <= 1
    density = math.exp(-0.5) / math.sqrt(2 * math.pi)
    variance = 1 - 2 * density / math.erf(1 / math.sqrt(2))
    assert latents.var().item() == pytest.approx(variance, rel=0.02)
    wide = torch.tensor([-1.3, 0.2, 2.0])
    assert torch.allclose(truncate(wide, 8.0), wide, atol=1e-4)
