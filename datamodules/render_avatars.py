"""Render the embedded set of drawn faces anew.

    pip install 'saddlepoint[avatars]'
    python -m saddlepoint.datamodules.render_avatars

Needs DiceBear's renderer and its pixel-art style, which is in the public domain (CC0). The set is a
function of this file and of their versions: every face is drawn from a seed.
"""

import argparse
import io
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import resvg_py
import torch
from dicebear import Avatar, Style
from PIL import Image
from rich.progress import track

from saddlepoint.datamodules.avatars import ATTRIBUTES, CLASSES, FACES, PER_ROW, RESOLUTION, SHEET
from saddlepoint.datamodules.sheet import write_sheet

#: One hair colour a class; skin and the rest are drawn from the seed.
HAIR_COLOURS = dict(
    zip(CLASSES, ("1f1512", "7a4a21", "e3c078", "bd3a12", "8d8f99", "0b8fb5"), strict=True)
)
SKIN_COLOURS = ("ffe0c4", "f2c39b", "d99c6b", "a86d43", "6f4428")
DARK_SKIN = SKIN_COLOURS[3:]
BACKGROUND = "d6e6f2"


def draw(style: Style, index: int) -> tuple[Image.Image, int, list[int]]:
    """Draw face ``index``: its image, class, and attributes as 0 and 1."""
    label = index % len(CLASSES)
    options = {
        "seed": f"saddlepoint {index}",
        "hairColor": [f"#{HAIR_COLOURS[CLASSES[label]]}"],
        "skinColor": [f"#{colour}" for colour in SKIN_COLOURS],
        "backgroundColor": [f"#{BACKGROUND}"],
        "glassesProbability": 40,
        "beardProbability": 25,
        "hatProbability": 12,
        "accessoriesProbability": 20,
    }
    avatar = Avatar(style, options)
    drawn = avatar.to_json()["options"]
    attributes = {
        "glasses": "glassesVariant" in drawn,
        "beard": "beardVariant" in drawn,
        "hat": "hatVariant" in drawn,
        "long_hair": drawn.get("hairVariant", "").startswith("long"),
        "smiling": drawn["mouthVariant"].startswith("happy"),
        "dark_skin": drawn["skinColor"][0].lstrip("#") in DARK_SKIN,
    }
    png = resvg_py.svg_to_bytes(
        svg_string=avatar.to_string(),
        width=RESOLUTION,
        height=RESOLUTION,
        skip_system_fonts=True,
    )
    image = Image.open(io.BytesIO(png)).convert("RGB")
    return image, label, [int(attributes[name]) for name in ATTRIBUTES]


def main() -> None:
    """Write the sheet, its labels and attributes in one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=SHEET)
    output = parser.parse_args().output
    style = Style(json.loads(files("dicebear_styles").joinpath("pixel-art.json").read_text("utf8")))
    images, rows = [], []
    for index in track(range(FACES), "drawing"):
        image, label, attributes = draw(style, index)
        images.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
        rows.append([label, *attributes])
    np.savez(
        output,
        sheet=write_sheet(torch.stack(images), PER_ROW),
        labels=np.array([row[0] for row in rows], np.uint8),
        attributes=np.array([row[1:] for row in rows], np.uint8),
    )
    print(f"{output}: {FACES} faces, {output.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
