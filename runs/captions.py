"""What a picture says of itself: a caption below it, labels beside its rows, text in its file."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

SIZE = 13  # pixels of letters
LINE = SIZE + 5
MARGIN = 6


def caption_of(title: str, iteration: int, scores: Mapping[str, float]) -> str:
    """What is shown: the run, how far it has come, and its scores at that moment.

    An extractor is named once, with the first score that it gives.
    """
    values, named = [], set()
    for name, value in scores.items():
        base, _, extractor = name.partition("/")
        values.append(f"{base if extractor in named else name} {value:,.4g}")
        named |= {extractor} - {""}
    lines = [" · ".join(values[start : start + 4]) for start in range(0, len(values), 4)]
    return "\n".join([f"{title}, iteration {iteration:,}", *(lines or [""])])


def captioned(picture: Image.Image, caption: str) -> Image.Image:
    """The picture with a caption below it, which stands in its file as well.

    Args:
        picture: keeps what is known of it (``info``).
        caption: lines; one that is wider than the picture is broken.
    """
    font = ImageFont.load_default(SIZE)
    width = picture.width - 2 * MARGIN
    lines = [part for line in caption.split("\n") for part in wrapped(line, font, width)]
    size = picture.width, picture.height + len(lines) * LINE + MARGIN
    whole = Image.new("RGB", size, "white")
    whole.paste(picture, (0, 0))
    draw = ImageDraw.Draw(whole)
    for number, line in enumerate(lines):
        draw.text((MARGIN, picture.height + 2 + number * LINE), line, "black", font)
    whole.info = {**picture.info, "Title": " · ".join(filter(None, caption.split("\n")))}
    return whole


def with_row_labels(picture: Image.Image, labels: Sequence[str], heading: str) -> Image.Image:
    """The picture with a text left of each of its rows, which are equally high.

    Args:
        picture: a grid.
        labels: of its rows, from above.
        heading: what the labels are; above them.
    """
    font = ImageFont.load_default(SIZE)
    left = round(max(font.getlength(text) for text in (*labels, heading))) + 2 * MARGIN
    whole = Image.new("RGB", (left + picture.width, LINE + picture.height), "white")
    whole.paste(picture, (left, LINE))
    draw = ImageDraw.Draw(whole)
    draw.text((MARGIN, 2), heading, "#555", font)
    height = picture.height / len(labels)
    for row, label in enumerate(labels):
        middle = LINE + (row + 0.5) * height
        draw.text((left - MARGIN, middle), label, "black", font, anchor="rm")
    return whole


def png_text(picture: Image.Image) -> PngInfo:
    """What the file of a picture says: the texts that are known of it."""
    text = PngInfo()
    for key, value in picture.info.items():
        if isinstance(value, str):
            text.add_itxt(key, value)
    text.add_text("Software", "Saddlepoint")
    return text


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Break a text into lines of at most ``width`` pixels, at its spaces."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
