from __future__ import annotations

from typing import get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from creditline.data import ImageSpec
from creditline.data.preparation import prepare
from creditline.errors import DataError, SettingsError
from creditline.settings import from_dict, to_dict


@given(
    rgb=st.tuples(*[st.integers(0, 255)] * 3),
    alpha=st.integers(0, 255),
    background=st.sampled_from(["white", "black"]),
)
def test_alpha_is_the_over_operator_rounded_to_nearest(rgb, alpha, background):
    image = Image.new("RGBA", (1, 1), (*rgb, alpha))
    base = 255 if background == "white" else 0
    expected = [round((c * alpha + base * (255 - alpha)) / 255) for c in rgb]
    assert prepare(image, ImageSpec(background=background))[0, 0].tolist() == expected


def test_colors_of_transparent_pixels_never_bleed_in_when_resizing(noise):
    pixels = noise(8, 8, 4)
    pixels[:, 4:, 3] = 0
    other = pixels.copy()
    other[:, 4:, :3] = 255 - pixels[:, 4:, :3]
    spec = ImageSpec(size=3)
    a, b = (prepare(Image.fromarray(p), spec) for p in (pixels, other))
    np.testing.assert_array_equal(a, b)


def test_center_takes_the_middle_square(noise):
    pixels = noise(10, 16, 3)
    out = prepare(Image.fromarray(pixels), ImageSpec(size=10))
    np.testing.assert_array_equal(out, pixels[:, 3:13])


def test_center_crop_as_celeba(noise):
    pixels = noise(218, 178, 3)
    out = prepare(Image.fromarray(pixels), ImageSpec(size=140, center_crop=140, crop="none"))
    np.testing.assert_array_equal(out, pixels[39:179, 19:159])
    small = prepare(Image.fromarray(pixels), ImageSpec(size=64, center_crop=140))
    cut = Image.fromarray(np.ascontiguousarray(pixels[39:179, 19:159]))
    expected = cut.resize((64, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(small, np.asarray(expected))


@pytest.mark.parametrize(("width", "left"), [(5, 0), (7, 2), (9, 2), (11, 4)])
def test_half_pixels_go_to_the_even_side(noise, width, left):
    pixels = noise(4, width, 3)
    out = prepare(Image.fromarray(pixels), ImageSpec(center_crop=4))
    np.testing.assert_array_equal(out, pixels[:, left : left + 4])


def test_stretch_keeps_the_whole_image():
    halves = np.zeros((4, 12, 3), np.uint8)
    halves[:, 6:] = 255
    image = Image.fromarray(halves)
    out = prepare(image, ImageSpec(size=4, crop="stretch", resample="nearest"))
    np.testing.assert_array_equal(out[..., 0], [[0, 0, 255, 255]] * 4)
    assert prepare(image, ImageSpec(size=4, crop="center", resample="nearest")).mean() == 127.5


@pytest.mark.parametrize("resample", get_args(get_type_hints(ImageSpec)["resample"]))
def test_flat_color_survives_every_filter(resample):
    image = Image.new("RGB", (30, 17), (9, 99, 199))
    out = prepare(image, ImageSpec(size=7, resample=resample))
    assert out.shape == (7, 7, 3)
    assert (out == (9, 99, 199)).all()


def test_a_fitting_image_is_not_touched(noise):
    pixels = noise(16, 16, 3)
    for crop in ("center", "stretch", "none"):
        out = prepare(Image.fromarray(pixels), ImageSpec(size=16, crop=crop))
        np.testing.assert_array_equal(out, pixels)


def test_none_refuses_other_sizes():
    with pytest.raises(DataError, match=r"cat\.png is 8x6.*16x16.*crop='center'"):
        prepare(Image.new("RGB", (8, 6)), ImageSpec(size=16, crop="none"), "cat.png")


def test_center_crop_larger_than_the_image():
    with pytest.raises(DataError, match=r"cat\.png is 64x64, too small to cut 140"):
        prepare(Image.new("RGB", (64, 64)), ImageSpec(size=64, center_crop=140), "cat.png")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop": "centr"}, "Did you mean 'center'"),
        ({"background": "gray"}, "Known: black, white"),
        ({"resample": "bilinar"}, "Did you mean 'bilinear'"),
        ({"size": 0}, "size must be"),
        ({"size": 16.0}, "size must be"),
        ({"center_crop": -1}, "center_crop must be"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(SettingsError, match=message):
        ImageSpec(**settings)


def test_spec_survives_a_manifest():
    spec = ImageSpec(size=64, center_crop=140, resample="lanczos")
    assert from_dict(ImageSpec, to_dict(spec)) == spec
