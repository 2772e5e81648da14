"""Contact sheets: many small pictures on one, enlarged without blur."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from creditline.settings import require

Picture = Image.Image | np.ndarray | bytes

PAPER = (255, 255, 255)
INK = (40, 40, 40)
LABEL_SIZE = 11


def sheet(
    images: Sequence[Picture],
    columns: int | None = None,
    scale: int = 1,
    labels: Sequence[str] | None = None,
    gap: int = 2,
) -> Image.Image:
    """Lay pictures out in rows, left to right, on white.

    Args:
        images: PIL images, uint8 arrays [h, w, 3], or encoded files as bytes; sizes may differ,
            each is centered in a cell of the largest.
        columns: pictures per row; by default the sheet is as square as it can be.
        scale: whole factor by which pictures are enlarged; every pixel becomes a square.
        labels: one line below each picture, shortened to the cell's width.
        gap: pixels between cells and around the sheet.

    Returns:
        An RGB image.

    Raises:
        SettingsError: if there is no picture, a number is impossible or labels do not fit images.
    """
    require(len(images) > 0, "A sheet needs at least one picture", 0, "Pass some images.")
    require(scale >= 1, "The scale must be at least 1", scale, "Use a whole number, such as 4.")
    require(gap >= 0, "The gap must not be negative", gap, "Use 0 or more pixels.")
    columns = math.ceil(math.sqrt(len(images))) if columns is None else columns
    require(columns >= 1, "A sheet needs at least one column", columns, "Use 1 or more.")
    if labels is not None:
        asked = f"{len(images)} pictures need as many labels"
        require(len(labels) == len(images), asked, len(labels), "Pass one per picture.")

    pictures = [_enlarged(image, scale) for image in images]
    width = max(picture.width for picture in pictures)
    height = max(picture.height for picture in pictures)
    line = 0 if labels is None else LABEL_SIZE + 6
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    size = (gap + columns * (width + gap), gap + rows * (height + line + gap))
    paper = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(paper)
    font = ImageFont.load_default(LABEL_SIZE)
    for i, picture in enumerate(pictures):
        x = gap + i % columns * (width + gap)
        y = gap + i // columns * (height + line + gap)
        paper.paste(picture, (x + (width - picture.width) // 2, y + (height - picture.height) // 2))
        if labels is not None:
            text = _shortened(labels[i], width, font)
            draw.text((x + width / 2, y + height + 3), text, INK, font, anchor="ma")
    return paper


def _enlarged(image: Picture, scale: int) -> Image.Image:
    if isinstance(image, bytes):
        image = Image.open(BytesIO(image))
    elif isinstance(image, np.ndarray):
        fits = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        given = f"{image.dtype} {image.shape}"
        require(fits, "A picture array must be uint8 [h, w, 3]", given, "Convert it first.")
        image = Image.fromarray(image)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, PAPER), image.convert("RGBA"))
    size = (image.width * scale, image.height * scale)
    return image.convert("RGB").resize(size, Image.Resampling.NEAREST)


def _shortened(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
