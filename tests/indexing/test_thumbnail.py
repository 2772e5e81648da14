"""Thumbnails: small enough beside a feature, exact where that is for nothing."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from creditline.indexing.thumbnail import ENOUGH, SIDE, as_png, compact, png


def noise(side, smooth=1):
    """A random image; smooth ones look like photographs to an encoder."""
    small = np.random.default_rng(0).integers(0, 256, (side // smooth, side // smooth, 3), np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def test_small_images_are_kept_as_they_are():
    image = noise(32)
    thumbnail = compact(image)
    assert as_png(thumbnail) == thumbnail == png(image)
    assert np.array_equal(np.asarray(Image.open(BytesIO(thumbnail))), np.asarray(image))


@pytest.mark.parametrize("smooth", [1, 4, 16, 64])
def test_large_ones_have_little_room_and_are_similar(smooth):
    image = noise(512, smooth)
    thumbnail = compact(image)
    assert len(thumbnail) <= ENOUGH
    decoded = Image.open(BytesIO(as_png(thumbnail)))
    assert decoded.format == "PNG"
    assert 64 <= max(decoded.size) <= SIDE
    if smooth > 4:  # what is left of noise is gray
        pair = [np.asarray(one, float).ravel() for one in (decoded, image.resize(decoded.size))]
        assert np.corrcoef(*pair)[0, 1] > 0.9
