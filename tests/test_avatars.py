import io
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.datamodules import avatars
from saddlepoint.datamodules.avatars import (
    ATTRIBUTES,
    CLASSES,
    FACES,
    PER_ROW,
    SHEET,
    Avatars,
    load_avatars,
)
from saddlepoint.errors import UserError


@pytest.fixture(scope="module")
def faces():
    return load_avatars()


def column(faces, name):
    return faces.attributes.values[:, ATTRIBUTES.index(name)].bool()


def test_forms(faces):
    assert (
        faces.image.values.shape == (FACES, 3, 32, 32) and faces.image.values.dtype == torch.uint8
    )
    assert faces.image.values.is_contiguous()
    assert faces.label.values.shape == (FACES,) and faces.label.values.dtype == torch.int64
    assert faces.attributes.values.shape == (FACES, len(ATTRIBUTES))
    assert faces.attributes.values.dtype == torch.uint8
    assert (faces.label.names, faces.attributes.names) == (CLASSES, ATTRIBUTES)
    assert set(faces.attributes.values.unique().tolist()) == {0, 1}


def test_faces_are_cut_out_of_the_sheet_row_by_row(faces):
    with np.load(SHEET, allow_pickle=False) as archive:
        sheet = Image.open(io.BytesIO(archive["sheet"].tobytes())).convert("RGB")
    for index in (0, 1, PER_ROW - 1, PER_ROW, 3 * PER_ROW + 5, FACES - 1):
        left, top = index % PER_ROW * 32, index // PER_ROW * 32
        tile = np.asarray(sheet.crop((left, top, left + 32, top + 32)))
        assert np.array_equal(faces.image.values[index].permute(1, 2, 0).numpy(), tile)


def test_every_class_and_attribute_is_common_enough_to_learn(faces):
    counts = faces.label.values.bincount(minlength=len(CLASSES))
    assert counts.min() > 0.9 * FACES / len(CLASSES)
    shares = faces.attributes.values.float().mean(0)
    assert shares.min() > 0.1 and shares.max() < 0.8


def test_faces_are_varied(faces):
    assert len(faces.image.values.flatten(1).unique(dim=0)) > 0.98 * FACES


def test_labels_say_what_is_seen(faces):
    # Classes differ in colour where the hair is.
    crown = faces.image.values[:, :, 4:9, 8:24].float().mean((2, 3))
    means = torch.stack([crown[faces.label.values == c].mean(0) for c in range(len(CLASSES))])
    assert torch.pdist(means).min() > 15
    # What is dark is dark: the mean colour of the cheeks.
    cheeks = faces.image.values[:, :, 18:22, 10:22].float().mean((1, 2, 3))
    dark = column(faces, "dark_skin")
    assert cheeks[dark].mean() < cheeks[~dark].mean() - 30
    # Glasses cover the eyes, a beard the chin: pictures differ there most.
    for name, rows in (("glasses", slice(8, 20)), ("beard", slice(18, 30))):
        has = column(faces, name)
        difference = (
            faces.image.values[has].float().mean(0) - faces.image.values[~has].float().mean(0)
        ).abs()
        assert difference[:, rows].mean() > 2 * difference[:, :6].mean()


def test_datamodule():
    spec = Avatars().spec
    assert (spec.name, spec.shape, spec.num_items) == ("avatars", (3, 32, 32), FACES)
    assert (spec.classes, spec.attributes) == (CLASSES, ATTRIBUTES)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "changed", "not_an_archive"])
def test_damaged_file(damage, tmp_path, monkeypatch):
    path = tmp_path / "avatars.npz"
    content = SHEET.read_bytes()
    middle = len(content) // 2
    damaged = {
        "empty": b"",
        "truncated": content[:middle],
        "changed": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
        "not_an_archive": b"faces",
    }
    if damage != "missing":
        path.write_bytes(damaged[damage])
    monkeypatch.setattr(avatars, "SHEET", path)
    with pytest.raises(UserError, match="missing or damaged"):
        load_avatars()
    shutil.copy(SHEET, path)
    assert load_avatars().count == FACES
