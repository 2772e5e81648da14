"""Pictures as an index keeps and shows them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image

SIDE = 128
ENOUGH = 3200
"""Bytes: a picture of 32 x 32 pixels fits without loss, and one of `SIDE` beside its feature."""
LOSSY = ((SIDE, 80), (SIDE, 60), (96, 60), (96, 40), (64, 40))
"""Longest side and quality, tried in this order on pictures that are larger than that."""


def png(picture: Image.Image, side: int = SIDE) -> bytes:
    """PNG bytes of a picture, reduced to at most `side` pixels."""
    return _file(picture, side, format="PNG")


def compact(picture: Image.Image) -> bytes:
    """Bytes of a thumbnail: PNG if that is small enough, else WebP as good as fits.

    Args:
        picture: of any size.
    """
    found = png(picture)
    for side, quality in LOSSY:
        if len(found) <= ENOUGH:
            break
        found = _file(picture, side, format="WEBP", quality=quality)
    return found


def as_png(thumbnail: bytes) -> bytes:
    """What `compact` made, as PNG."""
    with Image.open(BytesIO(thumbnail)) as picture:
        return thumbnail if picture.format == "PNG" else png(picture.convert("RGB"))


def _file(picture: Image.Image, side: int, **how: Any) -> bytes:
    if max(picture.size) > side:
        picture = picture.copy()
        picture.thumbnail((side, side))
    buffer = BytesIO()
    picture.save(buffer, **how)
    return buffer.getvalue()
