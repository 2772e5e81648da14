"""Thumbnails: small enough beside a feature, exact where that is for nothing."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from creditline.indexing.thumbnail import ENOUGH, SIDE, as_png, compact, png


def noise(side, smooth=1):
    """A random picture; smooth ones look like photographs to an encoder."""
    small = np.random.default_rng(0).integers(0, 256, (side // smooth, side // smooth, 3), np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def test_small_pictures_are_kept_as_they_are():
    picture = noise(32)
    kept = compact(picture)
    assert as_png(kept) == kept == png(picture)
    assert np.array_equal(np.asarray(Image.open(BytesIO(kept))), np.asarray(picture))


@pytest.mark.parametrize("smooth", [1, 4, 16, 64])
def test_large_ones_have_little_room_and_look_alike(smooth):
    picture = noise(512, smooth)
    kept = compact(picture)
    assert len(kept) <= ENOUGH
    shown = Image.open(BytesIO(as_png(kept)))
    assert shown.format == "PNG"
    assert 64 <= max(shown.size) <= SIDE
    if smooth > 4:  # what is left of noise is gray
        pair = [np.asarray(one, float).ravel() for one in (shown, picture.resize(shown.size))]
        assert np.corrcoef(*pair)[0, 1] > 0.9
