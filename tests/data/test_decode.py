from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from creditline.data.decode import TURNS, decode, to_upright
from creditline.errors import DataError


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def test_16_bit_gray_is_scaled_not_clipped():
    values = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    out = np.asarray(decode(encoded(Image.fromarray(values)), "gray16.png"))
    np.testing.assert_array_equal(out[..., 0], np.arange(256).reshape(16, 16))
    near = Image.fromarray(np.array([[128, 129, 65406, 65407]], np.uint16))
    assert np.asarray(to_upright(near))[0, :, 0].tolist() == [0, 1, 254, 255]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, *TURNS])
def test_exif_orientation_is_applied_once(orientation, format):
    stored = np.zeros((8, 12, 3), np.uint8)
    stored[:4, :6] = 255  # a white corner that shows how the image was turned
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.get(format, {})
    data = encoded(Image.fromarray(stored), format, exif=exif, **lossless)

    out = decode(data, "turned")

    expected = np.asarray(Image.fromarray(stored))
    if orientation in TURNS:
        expected = np.asarray(Image.fromarray(stored).transpose(TURNS[orientation]))
    np.testing.assert_allclose(np.asarray(out).astype(int), expected, atol=40)
    np.testing.assert_array_equal(np.asarray(to_upright(out)), np.asarray(out))


def test_every_orientation_is_a_different_turn():
    square = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4))
    seen = {square.tobytes()} | {square.transpose(turn).tobytes() for turn in TURNS.values()}
    assert len(seen) == 8


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "LAB"])
def test_opaque_modes_become_rgb_of_the_same_color(mode):
    white = Image.new("RGB", (4, 4), (255, 255, 255))
    image = Image.new("LAB", (4, 4), (255, 128, 128)) if mode == "LAB" else white.convert(mode)
    out = to_upright(image)
    assert out.mode == "RGB"
    np.testing.assert_allclose(np.asarray(out), 255, atol=3)


def test_cmyk_jpeg():
    red = Image.new("RGB", (8, 8), (250, 10, 10)).convert("CMYK")
    out = decode(encoded(red, "JPEG", quality=100), "print.jpg")
    np.testing.assert_allclose(np.asarray(out)[4, 4], (250, 10, 10), atol=4)


def test_palette_and_gray_transparency_become_alpha():
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    out = decode(encoded(palette, transparency=1), "palette.png")
    assert [out.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0, 255), (0, 255, 0, 0)]

    gray = Image.fromarray(np.array([[10, 20]], np.uint8))
    out = decode(encoded(gray, transparency=20), "gray.png")
    assert [out.getpixel((x, 0))[3] for x in (0, 1)] == [255, 0]

    deep = Image.fromarray(np.array([[1000, 20000]], np.uint16))
    out = decode(encoded(deep, transparency=20000), "deep.png")
    assert [out.getpixel((x, 0))[3] for x in (0, 1)] == [255, 0]


def test_premultiplied_alpha_is_undone():
    color = Image.new("RGBA", (1, 1), (200, 100, 50, 128)).convert("RGBa")
    np.testing.assert_allclose(to_upright(color).getpixel((0, 0)), (200, 100, 50, 128), atol=2)
    gray = Image.new("LA", (1, 1), (200, 128)).convert("La")
    np.testing.assert_allclose(to_upright(gray).getpixel((0, 0)), (200, 200, 200, 128), atol=2)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(format):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    lossless = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **lossless)
    assert to_upright(decode(data, "moving")).convert("RGB").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_damaged_files_are_named(noise, format):
    data = encoded(Image.fromarray(noise(32, 32, 3)), format)
    with pytest.raises(DataError, match=r"album/broken\.x"):
        decode(data[: len(data) // 2], "album/broken.x")


@pytest.mark.parametrize(
    ("format", "mode"),
    [("PNG", "P"), ("JPEG", "RGB"), ("WEBP", "RGBA"), ("GIF", "P"), ("AVIF", "RGB")],
)
def test_random_damage_never_escapes(noise, format, mode):
    from PIL import features

    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    image = Image.fromarray(noise(16, 16, 4)).convert("RGB").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if format == "GIF" else {"exif": exif}
    data = encoded(image, format, **options)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 8):
            damaged[at] = rng.integers(256)
        try:
            assert decode(bytes(damaged), "x").mode in ("RGB", "RGBA")
        except DataError:
            refused += 1
    assert refused > 0


def test_not_an_image_and_empty_file():
    with pytest.raises(DataError, match=r"notes\.png: not an image"):
        decode(b"these are notes", "notes.png")
    with pytest.raises(DataError, match=r"none\.png: the file is empty"):
        decode(b"", "none.png")


@pytest.mark.parametrize("limit", [1000, 1500])  # Pillow raises for the one, warns for the other
def test_decompression_bomb(noise, monkeypatch, limit):
    data = encoded(Image.fromarray(noise(50, 50, 3)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    monkeypatch.setenv("CREDITLINE_MAX_PIXELS", str(limit))
    with pytest.raises(DataError, match=r"bomb\.png: .*CREDITLINE_MAX_PIXELS"):
        decode(data, "bomb.png")


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_range_are_refused(mode):
    with pytest.raises(DataError, match=r"depth\.tif.*8 or 16 bits"):
        decode(encoded(Image.new(mode, (4, 4), 70000), "TIFF"), "depth.tif")
