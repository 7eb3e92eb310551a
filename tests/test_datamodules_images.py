"""Own images: folders, zips, labels, modes and sizes."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import encoded, labelled, load, picture, pixels_of, put, put_zip
from PIL import Image
from torchvision.transforms.functional import center_crop

import saddlepoint.datamodules.base
from saddlepoint.datamodules.decode import Decoder
from saddlepoint.datamodules.window import Window
from saddlepoint.errors import UserError

SHARED = Path(__file__).parents[2] / "shared" / "data"


# Where images and labels come from ----------------------------------------------------------------


def test_flat_folder(tmp_path):
    files = {f"{i}.png": picture(i) for i in range(5)}
    put(tmp_path, {**files, "notes.txt": b"no image", ".hidden.png": b"", "__MACOSX/0.png": b""})
    data = load(tmp_path)
    assert data.spec.shape == (3, 8, 8) and data.spec.num_items == 5
    assert data.spec.num_classes == 0 and data.spec.name == tmp_path.name
    expected = torch.stack([pixels_of(image) for image in files.values()])
    assert torch.equal(data.source.image.values, expected)
    assert "label" not in data.source


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_folder_per_class(tmp_path, kind):
    files = {"dog/1.png": picture(1), "cat/2.jpg": encoded(picture(2), "jpeg"), "cat/a/3.PNG": None}
    files["cat/a/3.PNG"] = picture(3)
    data = load(put(tmp_path / "x", files) if kind == "folder" else put_zip(tmp_path / "x", files))
    assert data.spec.classes == ("cat", "dog")
    assert data.source.label.values.tolist() == [0, 0, 1]
    assert torch.equal(data.source.image.values[2], pixels_of(files["dog/1.png"]))


def test_one_folder_is_no_class(tmp_path):
    put(tmp_path, {"images/1.png": picture(1), "images/2.png": picture(2)})
    assert load(tmp_path).spec.num_classes == 0


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_labels_from_json(tmp_path, kind):
    files = {
        "a/1.png": picture(1),
        "a/2.png": picture(2),
        "dataset.json": labelled(["a/2.png", 2], ["a/1.png", 0], classes=["x", "y", "z"]),
    }
    data = load(put(tmp_path / "x", files) if kind == "folder" else put_zip(tmp_path / "x", files))
    assert data.spec.classes == ("x", "y", "z")
    assert data.source.label.values.tolist() == [0, 2]


def test_json_without_class_names_or_without_labels(tmp_path):
    files = {"1.png": picture(1), "2.png": picture(2)}
    a = put_zip(tmp_path / "a", {**files, "dataset.json": labelled(["1.png", 3], ["2.png", 0])})
    assert load(a).spec.classes == ("0", "1", "2", "3")
    b = put_zip(tmp_path / "b", {**files, "dataset.json": b'{"labels": null}'})
    assert load(b).spec.classes == ()


def test_excluded_images(tmp_path):
    files = {"a/1.png": picture(1), "b/2.png": b"broken", "b/3.png": picture(3)}
    data = load(put(tmp_path, files), exclude=["b/2.png"])
    assert data.spec.num_items == 2 and data.source.label.values.tolist() == [0, 1]
    with pytest.raises(UserError, match="names c.png, which is not in"):
        _ = load(tmp_path, exclude=["c.png"]).spec


# Modes and sizes ----------------------------------------------------------------------------------


def test_grey_images_keep_one_channel_unless_told(tmp_path):
    put(tmp_path, {"1.png": picture(1, mode="L"), "2.png": picture(2, mode="L")})
    grey, colour = load(tmp_path), load(tmp_path, channels=3)
    assert grey.spec.shape == (1, 8, 8) and colour.spec.shape == (3, 8, 8)
    assert torch.equal(grey.source.image.values.expand(-1, 3, -1, -1), colour.source.image.values)
    put(tmp_path, {"3.png": picture(3)})
    assert load(tmp_path, channels=1).spec.shape == (1, 8, 8)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_images_are_laid_on_white(mode):
    image = picture(0, mode=mode)
    image.putpixel((0, 0), (10,) * (len(mode) - 1) + (0,))
    image.putpixel((1, 0), (10,) * (len(mode) - 1) + (255,))
    pixels = Decoder()(encoded(image), "x")
    assert pixels.shape[0] == len(mode) - 1
    assert (pixels[:, 0, 0] == 255).all() and (pixels[:, 0, 1] == 10).all()


def test_palette_black_and_white_and_cmyk():
    image = picture().quantize(16)
    assert np.array_equal(Decoder()(encoded(image), "x"), pixels_of(image).numpy())
    bits = Image.fromarray(np.eye(4, dtype=bool))
    assert np.array_equal(Decoder()(encoded(bits), "x")[0], 255 * np.eye(4, dtype=np.uint8))
    assert Decoder()(encoded(Image.new("CMYK", (4, 4)), "jpeg"), "x").shape == (3, 4, 4)


def test_camera_orientation_is_applied():
    exif = Image.Exif()
    exif[0x112] = 6  # the camera was turned by a quarter
    image = Decoder()(encoded(picture(size=(8, 4)), "png", exif=exif), "x")
    assert np.array_equal(image, np.rot90(pixels_of(picture(size=(8, 4))).numpy(), -1, (1, 2)))


def test_sixteen_bits_are_refused(tmp_path):
    put(tmp_path, {"deep.png": Image.fromarray(np.zeros((4, 4), np.uint16))})
    with pytest.raises(UserError, match="deep.png has pixels of mode I;16.*convert"):
        _ = load(tmp_path).spec


def test_resolution_crops_the_largest_square_and_resizes(tmp_path):
    wide, tall = picture(1, (20, 10)), picture(2, (12, 18))
    put(tmp_path, {"1.png": wide, "2.png": tall})
    data = load(tmp_path, resolution=6)
    assert data.spec.shape == (3, 6, 6)
    expected = wide.crop((5, 0, 15, 10)).resize((6, 6), Image.Resampling.LANCZOS)
    assert torch.equal(data.source.image.values[0], pixels_of(expected))
    expected = tall.crop((0, 3, 12, 15)).resize((6, 6), Image.Resampling.LANCZOS)
    assert torch.equal(data.source.image.values[1], pixels_of(expected))


@pytest.mark.parametrize("size", [(9, 12), (7, 3), (5, 9), (4, 5), (8, 8), (1, 20)])
def test_centre_crop_agrees_with_torchvision(size):
    for side in (4, 5, 8, 9):
        ours = Window.central(size, side).cut(picture(size=size), Image.Resampling.LANCZOS)
        theirs = center_crop(picture(size=size), side)
        assert torch.equal(pixels_of(ours), pixels_of(theirs)), side


# What wrong input gets ----------------------------------------------------------------------------


def test_mixed_sizes_name_two_files_and_the_setting(tmp_path):
    put(tmp_path, {"1.png": picture(1), "2.png": picture(2), "3.png": picture(3, (10, 6))})
    with pytest.raises(UserError, match=r"1.png has 8x8 .*3.png has 10x6: set .*resolution"):
        _ = load(tmp_path).spec


def test_mixed_channels_name_two_files_and_the_setting(tmp_path):
    put(tmp_path, {"1.png": picture(1), "2.png": picture(2, mode="L")})
    with pytest.raises(UserError, match=r"1.png is coloured but .*2.png is grey.*channels=3"):
        _ = load(tmp_path).spec


@pytest.mark.parametrize("kind", ["truncated", "garbage", "empty"])
def test_corrupt_image_is_named(tmp_path, kind):
    whole = encoded(picture(0, (64, 64)), "jpeg")
    content = {"truncated": whole[: len(whole) // 2], "garbage": b"nothing", "empty": b""}[kind]
    files = {"1.png": picture(1), "2.jpg": content}
    with pytest.raises(UserError, match=r"2.jpg is corrupt or no image"):
        _ = load(put(tmp_path / "folder", files)).spec
    with pytest.raises(UserError, match=r"2.jpg in .*x.zip is corrupt or no image"):
        _ = load(put_zip(tmp_path / "x.zip", files)).spec


def test_error_of_a_worker_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(saddlepoint.datamodules.base, "DECODED_AT_MOST", 0)
    put(tmp_path, {"1.png": picture(1), "2.png": b"broken"})
    data = load(tmp_path, resident=False, resolution=8, channels=3, num_workers=2)
    data.plan(0, 2, 1, 5)
    with pytest.raises(UserError, match=r"2.png is corrupt") as error:
        list(data.train_dataloader())
    assert "\n" not in str(error.value)


def test_damaged_zips(tmp_path):
    path = put_zip(tmp_path / "x.zip", {"1.png": picture(1), "2.png": picture(2)})
    content = bytearray(path.read_bytes())
    content[80] ^= 255  # inside the first, uncompressed, member
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read 1.png in .*x.zip: Bad CRC-32"):
        _ = load(path).spec
    path.write_bytes(content[:-30])
    with pytest.raises(UserError, match=r"x.zip is no readable zip"):
        _ = load(path).spec


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="no folder and no zip of images at .*absent"):
        _ = load(tmp_path / "absent").spec
    put(tmp_path, {"notes.txt": b""})
    with pytest.raises(UserError, match=f"no image in {re.escape(str(tmp_path))}"):
        _ = load(tmp_path).spec
    with pytest.raises(UserError, match=r"say datamodule.path="):
        _ = load(None).spec


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not of the form"),
        (b"[]", "is not of the form"),
        (b'{"labels": {"1.png": 0}}', "is not of the form"),
        (b'{"labels": []}', "has no label for 1.png"),
        (labelled(["1.png", 0], ["9.png", 0]), "names 9.png, which is missing"),
        (labelled(["1.png", [0, 1]]), r"labels 1.png with \[0, 1\]"),
        (labelled(["1.png", -1]), "labels 1.png with -1"),
        (labelled(["1.png", 2], classes=["a"]), "names 1 classes but has a label 2"),
    ],
)
def test_wrong_labels(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        _ = load(put(tmp_path, {"1.png": picture(), "dataset.json": content})).spec


def test_images_beside_class_folders(tmp_path):
    put(tmp_path, {"cat/1.png": picture(), "2.png": picture()})
    with pytest.raises(UserError, match=r"both in folders \(cat\) and beside them \(2.png\)"):
        _ = load(tmp_path).spec


def test_wrong_channels():
    with pytest.raises(UserError, match="channels=4 is not to be had: give 1 or 3 or null"):
        load("x", channels=4)


# Real images --------------------------------------------------------------------------------------


def shared(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path


def some(source, count=400):
    """Images from all over a set."""
    return source.image.read(torch.linspace(0, source.count - 1, count).long())


def test_omniglot():
    source = load(shared("omniglot_small.zip")).load()
    assert (source.image.shape, source.count, len(source.names("label"))) == (
        (1, 105, 105),
        4840,
        242,
    )
    assert source.label.values.bincount().tolist() == [20] * 242
    assert some(source).unique().tolist() == [0, 255]


def test_smile_faces():
    path = shared("smile_faces_64.zip")
    source = load(path).load()
    corrupt = source.image.members.index("not_smiling/9999.jpg")
    with pytest.raises(UserError, match=r"9999.jpg in .* is corrupt .*truncated.*exclude"):
        source.image.read_image(corrupt)
    source = load(path, exclude=["not_smiling/9999.jpg"]).load()
    assert source.image.shape == (1, 64, 64) and source.label.names == ("not_smiling", "smiling")
    assert source.label.values.bincount().tolist() == [9474, 3690]
    assert 30 < some(source).float().std() < 90


def test_cifar10_jpeg():
    source = load(shared("cifar10_jpeg_train.zip")).load()
    assert source.image.shape == (3, 32, 32) and len(source.label.names) == 10
    assert source.label.values.bincount().tolist() == [5000] * 10
    # The channel means of CIFAR-10's training images are known: 0.4914, 0.4822, 0.4465.
    means = some(source, 2000).float().mean(dim=(0, 2, 3)) / 255
    assert torch.allclose(means, torch.tensor([0.4914, 0.4822, 0.4465]), atol=0.01)
