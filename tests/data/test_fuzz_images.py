"""Damaged image files are refused, or read as images."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image, features
from tests.mutate import count_refusals, mutate

from creditline.data.decode import decode
from creditline.data.image_spec import ImageSpec
from creditline.data.preparation import prepare

FORMATS = [
    ("PNG", "RGB", {}),
    ("PNG", "P", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "I;16", {}),
    ("PNG", "RGB", {"save_all": True}),
    ("JPEG", "RGB", {}),
    ("JPEG", "CMYK", {"progressive": True}),
    ("GIF", "P", {"save_all": True}),
    ("WEBP", "RGBA", {}),
    ("WEBP", "RGB", {"lossless": True, "save_all": True}),
    ("BMP", "P", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "jpeg"}),
    ("TIFF", "F", {}),
    ("TGA", "RGB", {}),
    ("PPM", "RGB", {}),
    ("ICO", "RGBA", {}),
    ("JPEG2000", "RGB", {}),
    ("AVIF", "RGB", {}),
]


def seeds():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 31, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    for format, mode, options in FORMATS:
        if format == "AVIF" and not features.check("avif"):
            continue
        more = {"append_images": [image.convert(mode)]} if options.get("save_all") else {}
        stream = io.BytesIO()
        image.convert(mode).save(stream, format, **options, **more)
        yield stream.getvalue()


def damaged(n):
    rng, files = random.Random(17), list(seeds())
    return (mutate(rng.choice(files), rng) for _ in range(n))


def read(data):
    assert prepare(decode(data, "a.png"), ImageSpec(size=16), "a.png").shape == (16, 16, 3)


def test_damaged_images_are_refused_or_read():
    assert count_refusals(damaged(200), read) > 50


@pytest.mark.long
def test_ten_thousand_damaged_images_are_refused_or_read():
    assert count_refusals(damaged(10_000), read) > 2500
