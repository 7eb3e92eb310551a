"""What pictures say of themselves, and training on one sheet."""

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.runs.animation import frames_of
from saddlepoint.runs.captions import LINE, caption_of, captioned, with_row_labels
from saddlepoint.runs.film_strip import MOMENTS, _moments, film_strip
from saddlepoint.runs.pictures import picture_of, save


def shaded(value):
    """Nine images 32 x 32 of one shade."""
    return torch.full((9, 3, 32, 32), value)


def test_a_caption_lies_below_the_picture_and_in_its_file(tmp_path):
    grid = picture_of(shaded(0.0))
    caption = caption_of("avatars-sngan", 1500, {"FD/avatars": 20.25})
    whole = Image.open(save(captioned(grid, caption), tmp_path / "a.png"))
    assert whole.text["Title"] == "avatars-sngan, iteration 1,500 · FD/avatars 20.25"
    assert whole.text["Software"] == "Saddlepoint"
    pixels = np.asarray(whole)
    assert np.array_equal(pixels[: grid.height], np.asarray(grid))
    below = pixels[grid.height :]
    assert len(below) >= 2 * LINE and (below < 128).any()


def test_a_caption_names_an_extractor_once():
    scores = {"FD/avatars": 20.25, "density/avatars": 0.5, "KD/vgg16": 0.125, "modes": 3.0}
    assert caption_of("run", 1, scores).splitlines() == [
        "run, iteration 1",
        "FD/avatars 20.25 · density 0.5 · KD/vgg16 0.125 · modes 3",
    ]


def test_a_caption_wider_than_its_picture_is_broken_and_every_word_stays_inside():
    narrow = picture_of(shaded(0.0)[:4], columns=2)
    words = "one two three four five six seven eight nine ten"
    whole = captioned(narrow, words)
    assert whole.width == narrow.width and whole.height >= narrow.height + 3 * LINE
    assert (np.asarray(whole)[narrow.height :, -3:] == 255).all()


def test_rows_have_their_labels_beside_them():
    grid = picture_of(torch.zeros(6, 3, 32, 32), columns=2)
    whole = with_row_labels(grid, ["0.25", "0.5", "1"], "bound")
    left = whole.width - grid.width
    pixels = np.asarray(whole)
    assert np.array_equal(pixels[LINE:, left:], np.asarray(grid))
    tall = grid.height / 3
    for row in range(3):
        label = pixels[round(LINE + row * tall) : round(LINE + (row + 1) * tall), :left]
        ink = np.nonzero((label < 128).any(axis=(1, 2)))[0]
        assert len(ink) and abs(ink.mean() - tall / 2) < 8  # in the middle of the row's height


def test_a_strip_has_the_first_samples_of_a_few_moments(tmp_path):
    paths = []
    for number in range(20):
        images = shaded(-1 + number / 10)
        images[1] = 1.0  # the second sample stands still
        picture = captioned(picture_of(images), caption_of("run", 10 * number, {}))
        paths.append(save(picture, tmp_path / f"{10 * number:06d}.png"))
    strip = film_strip(paths)
    assert strip.info["Title"] == "run: samples by iteration"
    pixels = np.asarray(strip.convert("L"))
    # Three samples 64 px high (a row of the grid has three), two pixels apart.
    first = pixels[LINE + 32]
    shades = [round((-1 + k / 10 + 1) * 127.5) for k in _moments(20)]
    seen = [int(v) for k, v in enumerate(first) if v != 255 and (k == 0 or first[k - 1] != v)]
    assert seen == [shade for shade in shades if shade != 255]
    assert (pixels[LINE + 66 + 32] == 255).all()  # the second sample is white throughout
    assert strip.height < LINE + 3 * 66 + 3 * LINE


def test_moments_are_the_first_the_last_and_ever_further_apart():
    assert _moments(5) == [0, 1, 2, 3, 4]
    for count in (MOMENTS + 1, 40, 1000):
        chosen = _moments(count)
        assert chosen[0] == 0 and chosen[-1] == count - 1 and len(chosen) <= MOMENTS
        steps = np.diff(chosen)
        assert (steps > 0).all() and steps[-1] == steps.max()


def test_pictures_that_are_no_grids_are_shown_whole(tmp_path):
    paths = []
    for number, colour in enumerate(("red", "blue")):
        Image.new("RGB", (420, 450), colour).save(tmp_path / f"{number:06d}.png")
        paths.append(tmp_path / f"{number:06d}.png")
    colours = set(map(tuple, np.asarray(film_strip(paths)).reshape(-1, 3).tolist()))
    assert {(255, 0, 0), (0, 0, 255)} <= colours


@pytest.mark.parametrize("lines", [1, 3])
def test_frames_with_captions_of_unequal_height_have_one_size(tmp_path, lines):
    grid = picture_of(shaded(0.0))
    paths = [
        save(captioned(grid, "a\n" * number + "b"), tmp_path / f"{number}.png")
        for number in (0, lines)
    ]
    assert len({frame.size for frame in frames_of(paths)}) == 1
