"""Thumbnails of images, as an index stores and shows them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image

from creditline.data.decode import decode
from creditline.data.png import SIGNATURE

SIDE = 128
ENOUGH = 3200
"""Bytes: an image of 32 x 32 pixels fits without loss, and one of `SIDE` beside its feature."""
LOSSY = ((SIDE, 80), (SIDE, 60), (96, 60), (96, 40), (64, 40))
"""Longest side and quality, tried in this order on images that are larger than that."""


def png(image: Image.Image, side: int = SIDE) -> bytes:
    """PNG bytes of an image, reduced to at most `side` pixels."""
    return _encode(image, side, format="PNG")


def compact(image: Image.Image) -> bytes:
    """Bytes of a thumbnail: PNG if that is small enough, else WebP as good as fits.

    Args:
        image: of any size.
    """
    data = png(image)
    for side, quality in LOSSY:
        if len(data) <= ENOUGH:
            break
        data = _encode(image, side, format="WEBP", quality=quality)
    return data


def as_png(thumbnail: bytes) -> bytes:
    """A thumbnail that `compact` made, as PNG."""
    if thumbnail.startswith(SIGNATURE):
        return thumbnail
    return png(decode(thumbnail, "a thumbnail of the index").convert("RGB"))


def _encode(image: Image.Image, side: int, **options: Any) -> bytes:
    if max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side))
    buffer = BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()
