"""Render the embedded portraits, and the truth of their edits, anew.

    pip install 'saddlepoint[avatars]'
    python -m saddlepoint.datamodules.render_portraits

Needs DiceBear's renderer and three of its styles, which are in the public domain (CC0). The set is
a function of this file and of their versions: every portrait is drawn from a seed. What an edit
changes is found by drawing: the face once more with one option changed.
"""

import argparse
import io
import itertools
import json
import random
import re
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import numpy as np
import resvg_py
import torch
from dicebear import Avatar
from dicebear import Style as Definition
from PIL import Image
from rich.progress import track

from saddlepoint.datamodules.portraits import (
    ATTRIBUTES,
    FACES,
    HAIR,
    HELD_OUT,
    REGIONS,
    SHEET,
    SIDE,
    STYLES,
)
from saddlepoint.datamodules.sheet import write_sheet

HAIR_COLOURS = dict(
    zip(HAIR, ("1f1512", "7a4a21", "e3c078", "bd3a12", "8d8f99", "0b8fb5"), strict=True)
)
SKIN_COLOURS = ("ffe0c4", "f2c39b", "d99c6b", "a86d43", "6f4428")
BACKGROUND = "d6e6f2"
#: How many faces have what may be there or not.
SHARES = {"glasses": 0.4, "beard": 0.4, "smiling": 0.5}
#: An edit is seen where a channel changes by so many steps; and in how many pixels it has to be.
SEEN_FROM = 20
SEEN_IN = {"chin": 12, "mouth": 6, "eyes": 10, "hair": 40}


@dataclass(frozen=True)
class Style:
    """How one of DiceBear's styles is used.

    Attributes:
        file: of its definition.
        window: left, top, width and height of what is shown of its canvas.
        mouths: variants that smile, each with the one that does not and takes its place.
        options: what else differs from the style's own choice.
    """

    file: str
    window: tuple[int, int, int, int]
    mouths: tuple[tuple[str, str], ...]
    options: dict[str, object]

    @cached_property
    def definition(self) -> Definition:
        """As DiceBear takes it."""
        text = files("dicebear_styles").joinpath(f"{self.file}.json").read_text("utf8")
        # Masked by the luminance of its own colour, a dark beard would not be seen.
        return Definition(json.loads(text.replace("mask-type:luminance", "mask-type:alpha")))

    def draw(self, seed: str, attributes: dict[str, int], mouth: int) -> np.ndarray:
        """Draw the face of a seed with these attributes: (3, SIDE, SIDE) uint8.

        Args:
            seed: of all that is not said here.
            attributes: 0 or 1 by name.
            mouth: which pair of `mouths`.
        """
        colour = next(HAIR_COLOURS[name] for name in HAIR if attributes[name])
        smiling, serious = self.mouths[mouth]
        options = {
            "seed": seed,
            "hairColor": [f"#{colour}"],
            "skinColor": [f"#{skin}" for skin in SKIN_COLOURS],
            "backgroundColor": [f"#{BACKGROUND}"],
            "glassesProbability": 100 * attributes["glasses"],
            "beardProbability": 100 * attributes["beard"],
            "mouthVariant": [smiling if attributes["smiling"] else serious],
        }
        svg = Avatar(self.definition, options | self.options).to_string()
        window = " ".join(map(str, self.window))
        svg = re.sub('viewBox="[^"]*"', f'viewBox="{window}"', svg, count=1)
        png = resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, skip_system_fonts=True)
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).transpose(2, 0, 1)


PIXEL_ART = Style(
    "pixel-art",
    window=(0, 0, 16, 16),
    mouths=(("happy09", "sad01"), ("happy07", "sad05")),
    options={
        "hatProbability": 0,
        "accessoriesProbability": 0,
        "mouthColor": ["#d81b1b", "#a33327"],
        "glassesVariant": ["light02", "light05", "light06", "dark05"],
        "beardVariant": ["variant03", "variant05", "variant07", "variant08"],
    },
)
VOXEL_ART = Style(
    "voxel-art",
    window=(11, 0, 90, 90),
    mouths=(("wideSmile", "flat"), ("smile", "frown")),
    options={
        "cheeksProbability": 0,
        "topProbability": 100,
        "topVariant": [
            *("short", "spiky", "bowl", "sideSwept", "curly", "buns", "ponytail", "bob", "afro"),
            *("shoulderLength", "longWavy", "partedLong", "braids", "twinTails", "halfShaved"),
        ],
        "glassesVariant": ["round", "square", "shades", "cat"],
        "beardVariant": ["full", "mustache"],
    },
)
LORELEI = Style(
    "lorelei",
    window=(110, 110, 740, 740),
    mouths=(("happy12", "sad04"), ("happy10", "sad07")),
    options={
        "earringsProbability": 0,
        "frecklesProbability": 0,
        "hairAccessoriesProbability": 0,
        "mouthColor": ["#c0141a"],
        "glassesVariant": ["variant01", "variant02", "variant03", "variant04"],
    },
)
BY_NAME = dict(zip(STYLES, (PIXEL_ART, VOXEL_ART, LORELEI), strict=True))


@dataclass(frozen=True)
class Portrait:
    """A face with all that is known of it.

    Attributes:
        image: (3, SIDE, SIDE) uint8.
        attributes: 0 or 1 by name.
        edits: by name the face with one attribute changed: to its other value, or the hair to that
            colour. Of hair at least one other colour is there, which shows where it is.
    """

    image: np.ndarray
    attributes: dict[str, int]
    edits: dict[str, np.ndarray]

    def changed(self, region: str, least: int = 1) -> np.ndarray:
        """Where edits of a region change a channel by ``least`` steps: (SIDE, SIDE) bool."""
        edits = np.stack([self.edits[name] for name in REGIONS[region] if name in self.edits])
        return (np.abs(edits.astype(int) - self.image.astype(int)) >= least).any((0, 1))

    def shows(self, region: str) -> bool:
        """Whether edits of a region can be seen."""
        return self.changed(region, SEEN_FROM).sum() >= SEEN_IN[region]

    @property
    def boxes(self) -> list[list[int]]:
        """The smallest boxes (R, 4) around what changes, see `datamodules.fields.Boxes`."""
        boxes = []
        for region in REGIONS:
            rows, columns = self.changed(region).nonzero()
            edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            boxes.append(list(map(int, edges)))
        return boxes


def draw(index: int, all_colours: bool) -> Portrait:
    """Draw portrait ``index``: of the first of its seeds whose edits are all seen.

    Args:
        index: says style and colour, and all else by its seed.
        all_colours: whether its hair is drawn in all colours, or in its own and one other.
    """
    attempts = (attempt(index, number, all_colours) for number in itertools.count())
    return next(portrait for portrait in attempts if portrait is not None)


def attempt(index: int, number: int, all_colours: bool) -> Portrait | None:
    """Draw portrait ``index`` from one of its seeds; None as soon as an edit is not seen."""
    style = BY_NAME[STYLES[index % len(STYLES)]]
    colour = HAIR[index // len(STYLES) % len(HAIR)]
    other = "black_hair" if colour == "blue_hair" else "blue_hair"
    seed = f"saddlepoint portrait {index} {number}"
    chance = random.Random(seed)
    attributes = {name: int(name == colour) for name in HAIR}
    attributes |= {name: int(chance.random() < share) for name, share in SHARES.items()}
    mouth = int(chance.random() * len(style.mouths))
    image = style.draw(seed, attributes, mouth)
    portrait = Portrait(image, attributes, {colour: image})
    for region in SEEN_IN:
        names = REGIONS[region] if region != "hair" or all_colours else (other,)
        for name in names:
            if name != colour:
                portrait.edits[name] = style.draw(seed, edited(attributes, name), mouth)
        if not portrait.shows(region):
            return None
    return portrait


def edited(attributes: dict[str, int], name: str) -> dict[str, int]:
    """Attributes with one changed: to its other value, or the hair to that colour."""
    if name in HAIR:
        return attributes | {colour: int(colour == name) for colour in HAIR}
    return attributes | {name: 1 - attributes[name]}


def main() -> None:
    """Write both sheets and all that is known of the faces in one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=SHEET)
    output = parser.parse_args().output
    images, attributes, boxes, hair, truths = [], [], [], [], []
    for index in track(range(FACES + HELD_OUT), "drawing"):
        portrait = draw(index, all_colours=index >= FACES)
        images.append(torch.tensor(portrait.image))
        attributes.append([portrait.attributes[name] for name in ATTRIBUTES])
        boxes.append(portrait.boxes)
        hair.append(np.packbits(portrait.changed("hair")))
        if index >= FACES:
            # A face and its edits lie in one row, where most of them is a copy.
            truths += [images.pop(), *(torch.tensor(portrait.edits[name]) for name in ATTRIBUTES)]
    np.savez_compressed(
        output,
        sheet=write_sheet(torch.stack(images), per_row=48),
        truths=write_sheet(torch.stack(truths), per_row=2 * (1 + len(ATTRIBUTES))),
        attributes=np.array(attributes, np.uint8),
        boxes=np.array(boxes, np.uint8),
        hair=np.stack(hair),
    )
    print(f"{output}: {FACES} + {HELD_OUT} faces, {output.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
