"""What may be known of a folder's images: masks, attributes, boxes, and which are to test on."""

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.datamodules.folder import Folder
from saddlepoint.datamodules.mask_files import dilated
from saddlepoint.errors import UserError

REGIONS = {"mouth": {"box": [0.25, 0.5, 0.75, 1.0], "attributes": ["smiling"]}, "eyes": {}}
REGIONS["eyes"] = {"box": [0, 0, 1, 0.5]}


@pytest.fixture
def images(tmp_path):
    """Three images of 12 x 8 pixels in each of two folders."""
    for folder in ("serious", "smiling"):
        (tmp_path / "images" / folder).mkdir(parents=True)
        for k in range(3):
            Image.new("L", (12, 8), 10 * k).save(tmp_path / "images" / folder / f"{k}.png")
    return tmp_path / "images"


def folder(images, **settings):
    return Folder(images, **{"resolution": 8, "num_workers": 0, **settings})


def test_classes_become_attributes_and_boxes_are_shares_of_the_sides(images):
    data = folder(images, attributes=["smiling"], regions=REGIONS, resolution=16)
    assert data.spec.attributes == ("smiling",) and data.spec.exclusive == ()
    assert data.spec.regions == {"mouth": ("smiling",), "eyes": ()}
    assert data.source.attributes.values[:, 0].tolist() == data.source.label.values.tolist()
    assert data.source.boxes.values[5].tolist() == [[4, 8, 12, 16], [0, 0, 16, 8]]
    both = folder(images, attributes=["smiling", "serious"])
    assert both.spec.exclusive == (("smiling", "serious"),)
    assert both.source.attributes.values.sum(1).tolist() == [1] * 6


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"attributes": ["laughing"]}, "names laughing, which is no class"),
        ({"regions": {"mouth": {"attributes": []}}}, "regions.mouth is not of the form"),
        ({"regions": {"mouth": {"box": [0.5, 0, 0.5, 1]}}}, "mouth.box is no box in the image"),
        ({"regions": {"mouth": {"box": [0, 0, 8, 8]}}}, "mouth.box is no box in the image"),
        ({"regions": REGIONS}, "mouth shows smiling, which is no attribute"),
        ({"test_list": "nowhere.txt"}, "test_list=nowhere.txt cannot be read"),
        ({"masks": "nowhere"}, "no folder and no zip of images at nowhere"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(settings, words, images):
    with pytest.raises(UserError, match=words):
        _ = folder(images, **settings).spec


def test_a_list_says_which_images_and_folders_are_to_test_on(images, tmp_path):
    listed = tmp_path / "test.txt"
    listed.write_text("serious/1.png\n\nsmiling/\n")
    data = folder(images, test_list=listed, attributes=["smiling"])
    assert data.load().image.members == ["serious/0.png", "serious/2.png"]
    name, tested = data.load_held_out()
    assert name == "test"
    assert tested.image.members == ["serious/1.png"] + [f"smiling/{k}.png" for k in range(3)]
    assert tested.attributes.values[:, 0].tolist() == [0, 1, 1, 1]
    assert data.spec.classes == data.held_out.spec.classes == ("serious", "smiling")
    assert folder(images).held_out is None
    listed.write_text("smiling/7.png")
    with pytest.raises(UserError, match="names smiling/7.png, which is not in"):
        _ = data.load()
    listed.write_text("smiling\nserious")
    with pytest.raises(UserError, match=r"leaves no image of .* to train on"):
        _ = data.load()


def test_masks_are_cut_like_their_images_and_grow(images, tmp_path):
    for path in images.rglob("*.png"):
        mask = np.zeros((8, 12), np.uint8)
        mask[3, 5 + int(path.stem)] = 1  # whatever is not black
        target = tmp_path / "masks" / path.relative_to(images)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(target.with_suffix(".bmp"))
    masks = folder(images, masks=tmp_path / "masks").source.mask.values
    assert masks.shape == (6, 1, 8, 8) and masks.sum((1, 2, 3)).tolist() == [1] * 6
    assert [mask[0, 3].argmax().item() for mask in masks] == [3, 4, 5] * 2  # the central 8 x 8
    grown = folder(images, masks=tmp_path / "masks", dilate=2).source.mask.values
    for mask, column in zip(grown, [3, 4, 5] * 2, strict=True):
        expected = torch.zeros(8, 8, dtype=torch.uint8)
        expected[1:6, column - 2 : column + 3] = 1
        assert torch.equal(mask[0], expected)
    (tmp_path / "masks" / "smiling" / "1.bmp").unlink()
    with pytest.raises(UserError, match="has no mask for smiling/1.png"):
        _ = folder(images, masks=tmp_path / "masks").load()


def test_dilation_is_the_union_of_shifted_masks():
    mask = (torch.rand(2, 1, 9, 7, generator=torch.Generator().manual_seed(0)) < 0.1).to(
        torch.uint8
    )
    padded = torch.nn.functional.pad(mask, (2, 2, 2, 2))
    shifts = [padded[:, :, y : y + 9, x : x + 7] for y in range(5) for x in range(5)]
    assert torch.equal(dilated(mask, 2), torch.stack(shifts).amax(0))
    assert dilated(mask, 0) is mask
