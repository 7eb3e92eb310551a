"""Regions around the landmarks of a face: where they lie, before and after the image is cut."""

import numpy as np
import pytest
import torch
from pictures import encoded
from PIL import Image

from saddlepoint.datamodules import fields
from saddlepoint.datamodules.celeba import LANDMARKS, PAIRS, SIZE
from saddlepoint.datamodules.decode import Decoder
from saddlepoint.datamodules.face_regions import EXCLUSIVE, REGIONS, boxes_around
from saddlepoint.datamodules.source import Source

# Both eyes, nose, corners of the mouth: a face looking straight, and one that is tilted.
FACES = torch.tensor(
    [
        [[69.0, 111], [108, 111], [88, 133], [73, 152], [104, 152]],
        [[66.0, 100], [103, 118], [77, 134], [62, 144], [92, 160]],
    ]
)
#: Landmarks that each region has to cover.
COVERED = {"eyes": (0, 1), "nose": (2,), "mouth": (3, 4), "chin": ()}


def test_boxes_in_units_of_the_distance_between_the_eyes():
    """The table of the method's page, computed by hand for eyes that are 40 pixels apart."""
    face = torch.tensor([[[10.0, 20], [50, 20], [30, 45], [18, 60], [42, 60]]])
    expected = {
        "mouth": [30 - 30, 62 - 22, 30 + 30, 62 + 22],
        "eyes": [30 - 42, 20 - 18, 30 + 42, 20 + 18],
        "nose": [30 - 18, 39 - 20, 30 + 18, 39 + 20],
        "chin": [30 - 40, 82 - 24, 30 + 40, 82 + 24],
    }
    assert tuple(REGIONS) == tuple(expected)
    boxes = boxes_around(face)[0] - 0.5  # from edges of pixels to their centres
    assert torch.allclose(boxes, torch.tensor(list(expected.values())).float(), atol=1e-4)


@pytest.mark.parametrize("resolution", [178, 128, 64])
@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize("landmark", range(5))
def test_a_landmark_drawn_as_a_bright_pixel_lies_in_its_boxes(landmark, flip, resolution):
    """After crop, resize and mirroring, which exchanges left and right."""
    images = []
    decoder = Decoder(resolution=resolution, channels=1, crop=178, filter="bilinear")
    for face in FACES:
        picture = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        x, y = face[landmark].int().tolist()
        picture[y, x] = 255
        images.append(torch.from_numpy(decoder(encoded(Image.fromarray(picture)), "x").copy()))
    window = decoder.window(SIZE)
    source = Source(
        image=fields.Image(torch.stack(images)),
        points=fields.Points(FACES, SIZE[0], PAIRS, LANDMARKS).framed(window),
        boxes=fields.Boxes(boxes_around(FACES), SIZE[0], REGIONS).framed(window),
    )
    served = source.finish(source.read(torch.arange(2)), torch.full((2,), flip))
    for image, boxes in zip(served.image, served.boxes, strict=True):
        y, x = divmod(image.flatten().argmax().item(), resolution)
        for region, box in zip(REGIONS, boxes.tolist(), strict=True):
            if landmark in COVERED[region]:
                left, top, right, bottom = box
                assert left < x + 0.5 < right and top < y + 0.5 < bottom
    # What holds of the landmarks served holds of the boxes served: they move together.
    again = boxes_around(served.points)
    assert torch.allclose(again, served.boxes, atol=1e-3)


def test_names_are_those_of_celeba():
    """Its 40 attributes, as its list names them."""
    names = (
        "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose "
        "Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses "
        "Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache "
        "Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks "
        "Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick "
        "Wearing_Necklace Wearing_Necktie Young"
    )
    known = names.split()
    assert len(known) == 40
    named = {name for region in REGIONS.values() for name in region.attributes}
    assert named | {name for group in EXCLUSIVE for name in group} <= set(known)
