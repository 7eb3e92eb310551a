"""A user's own pictures in the form of a run."""

import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.datamodules.own_picture import read_pictures
from saddlepoint.errors import UserError

COLOURS = {"L": 200, "RGB": (200, 10, 60), "P": 7, "CMYK": (9, 80, 20, 0), "1": 1}


def bytes_of(pictures):
    return ((pictures + 1) * 127.5).round().to(torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", COLOURS)
def test_any_size_and_mode_becomes_the_form_of_the_run(mode, channels, tmp_path):
    image = Image.new(mode, (50, 21), COLOURS[mode])
    image.save(tmp_path / "face.tiff")
    read = read_pictures(tmp_path / "face.tiff", (channels, 32, 32))
    assert read.shape == (1, channels, 32, 32) and read.dtype == torch.float32
    expected = np.atleast_1d(image.convert("L" if channels == 1 else "RGB").getpixel((0, 0)))
    assert torch.equal(bytes_of(read)[0, :, 5, 9], torch.from_numpy(expected.astype(np.uint8)))


def test_a_picture_of_the_size_of_the_run_keeps_every_pixel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    read = bytes_of(read_pictures(str(tmp_path / "face.png"), (3, 16, 16)))
    assert np.array_equal(read[0].permute(1, 2, 0).numpy(), pixels)


def test_the_orientation_that_a_camera_noted_is_honoured(tmp_path):
    image = Image.new("RGB", (16, 16), "white")
    image.paste("red", (0, 0, 16, 4))  # red at the top, as it is stored
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    image.save(tmp_path / "face.png", exif=exif)
    read = bytes_of(read_pictures(tmp_path / "face.png", (3, 16, 16)))[0]
    assert read[1, :, 12:].eq(0).all() and read[1, :, :12].eq(255).all()  # red at the right


def test_transparent_pixels_are_white(tmp_path):
    Image.new("RGBA", (8, 8), (9, 9, 9, 0)).save(tmp_path / "face.png")
    assert read_pictures(tmp_path / "face.png", (3, 8, 8)).eq(1).all()


def test_a_folder_or_a_zip_gives_its_pictures_by_name(tmp_path):
    folder = tmp_path / "shots"
    folder.mkdir()
    for name, grey in (("b", 20), ("a", 10), ("c", 30)):
        Image.new("L", (9, 9), grey).save(folder / f"{name}.png")
    with zipfile.ZipFile(tmp_path / "shots.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    for path in (folder, tmp_path / "shots.zip"):
        read = bytes_of(read_pictures(path, (1, 8, 8)))
        assert read[:, 0, 0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("path", "shape", "words"),
    [
        ("missing.png", (3, 8, 8), "There is no picture .*missing.png"),
        ("text.png", (3, 8, 8), "text.png is corrupt or no image"),
        ("empty", (3, 8, 8), "no image in .*empty"),
        ("deep.png", (3, 8, 8), "no 8-bit form"),
        ("text.png", (2,), "no square pictures"),
        ("text.png", (3, 8, 16), "no square pictures"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence(path, shape, words, tmp_path):
    (tmp_path / "text.png").write_text("a face")
    (tmp_path / "empty").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UserError, match=words):
        read_pictures(tmp_path / path, shape)
