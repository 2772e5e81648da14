"""Contact sheets: many small images laid out on one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from creditline.data.decode import decode, load_pixels
from creditline.settings import require

ImageLike = Image.Image | np.ndarray | bytes

PAPER = (255, 255, 255)
INK = (40, 40, 40)
LABEL_SIZE = 11


def contact_sheet(
    images: Sequence[ImageLike],
    columns: int | None = None,
    scale: int = 1,
    labels: Sequence[str] | None = None,
    gap: int = 2,
) -> Image.Image:
    """Lay images out in rows, left to right, on a white background.

    Args:
        images: PIL images, uint8 arrays [h, w, 3], or encoded files as bytes; sizes may differ,
            each is centered in a cell of the largest.
        columns: images per row; by default, the square root of their number, rounded up.
        scale: integer factor that enlarges each image by nearest-neighbor interpolation.
        labels: one line of text below each image, shortened to the cell's width.
        gap: pixels between cells and around the sheet.

    Returns:
        An RGB image.

    Raises:
        SettingsError: if there is no image, a number is out of range, or labels do not match.
    """
    require(len(images) > 0, "A sheet needs at least one image", 0, "Pass some images.")
    require(scale >= 1, "The scale must be at least 1", scale, "Use a whole number, such as 4.")
    require(gap >= 0, "The gap must not be negative", gap, "Use 0 or more pixels.")
    columns = math.ceil(math.sqrt(len(images))) if columns is None else columns
    require(columns >= 1, "A sheet needs at least one column", columns, "Use 1 or more.")
    if labels is not None:
        request = f"{len(images)} images need as many labels"
        require(len(labels) == len(images), request, len(labels), "Pass one per image.")

    cells = [_enlarge(image, scale) for image in images]
    width = max(cell.width for cell in cells)
    height = max(cell.height for cell in cells)
    line = 0 if labels is None else LABEL_SIZE + 6
    columns = min(columns, len(cells))
    rows = math.ceil(len(cells) / columns)
    size = (gap + columns * (width + gap), gap + rows * (height + line + gap))
    paper = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(paper)
    font = ImageFont.load_default(LABEL_SIZE)
    for i, cell in enumerate(cells):
        x = gap + i % columns * (width + gap)
        y = gap + i // columns * (height + line + gap)
        paper.paste(cell, (x + (width - cell.width) // 2, y + (height - cell.height) // 2))
        if labels is not None:
            text = _shorten(labels[i], width, font)
            draw.text((x + width / 2, y + height + 3), text, INK, font, anchor="ma")
    return paper


def _enlarge(image: ImageLike, scale: int) -> Image.Image:
    if isinstance(image, bytes):
        image = decode(image, "an image of the sheet")
    elif isinstance(image, np.ndarray):
        fits = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        shape = f"{image.dtype} {image.shape}"
        require(fits, "An image array must be uint8 [h, w, 3]", shape, "Convert it first.")
        image = Image.fromarray(image)
    load_pixels(image, "an image of the sheet")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, PAPER), image.convert("RGBA"))
    size = (image.width * scale, image.height * scale)
    return image.convert("RGB").resize(size, Image.Resampling.NEAREST)


def _shorten(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
