"""Small pictures in folders and zips, for the tests of data modules."""

import io
import json
import zipfile

import numpy as np
import torch
from PIL import Image

from saddlepoint.datamodules.folder import Folder


def picture(seed=0, size=(8, 8), mode="RGB"):
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), np.uint8)
    return Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels, mode)


def encoded(image, kind="png", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def put(folder, files):
    """Write pictures or bytes under their names."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(content) if isinstance(content, Image.Image) else content)
    return folder


def put_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            data = encoded(content) if isinstance(content, Image.Image) else content
            archive.writestr(name, data)
    return path


def load(path, **settings):
    return Folder(path, **{"num_workers": 0, **settings})


def pixels_of(image):
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def labelled(*labels, **more):
    return json.dumps({"labels": labels, **more}).encode()
