"""What is opened: named formats, regular files, and images and archives of bounded size."""

from __future__ import annotations

import io
import os
import resource
import struct
import sys
import tracemalloc
import zipfile
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image, features

from creditline.data import formats, load_images
from creditline.data.decode import decode
from creditline.data.image_set import ImageSet
from creditline.data.image_spec import ImageSpec
from creditline.data.limits import FILE_BYTES, METADATA_BYTES, PIXELS
from creditline.data.preparation import flatten, prepare
from creditline.data.selection import SelectionSpec
from creditline.errors import DataError, SettingsError

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n{ } loop\n"


@contextmanager
def at_most(size):
    """Check that Python holds no more bytes at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def png(width, height, data=b"\0" * 100):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + rows


@pytest.mark.parametrize(
    "data", [POSTSCRIPT, b"%PDF-1.4\n", b"8BPS\0\1" + bytes(40), b"BUFR" + bytes(40)]
)
def test_formats_that_are_not_named_never_reach_their_readers(data, monkeypatch):
    def read(*_):
        raise AssertionError("a reader of another format ran")

    Image.init()
    for name in set(Image.OPEN) - set(formats.readable_formats()):
        monkeypatch.setitem(Image.OPEN, name, (read, Image.OPEN[name][1]))
    with pytest.raises(DataError, match=r"a\.png: not an image in a format that is read: PNG"):
        decode(data, "a.png")


def test_an_open_file_of_another_format_is_not_loaded(tmp_path):
    (tmp_path / "a.eps").write_bytes(POSTSCRIPT)
    with pytest.raises(DataError, match=r"Image 0: the format EPS is not read"):
        ImageSet.from_images([Image.open(tmp_path / "a.eps")])


def test_a_plug_in_of_pillow_adds_its_endings(write, noise, monkeypatch):
    source = write({"a.png": noise(4, 4, 3), "b.jxl": b"x"})
    monkeypatch.setattr(formats, "image_endings", lambda: formats.ENDINGS)
    assert load_images(source).names == ("a.png",)
    monkeypatch.setattr(formats, "image_endings", lambda: formats.ENDINGS | {".jxl"})
    with pytest.raises(DataError, match=r"b\.jxl: not an image"):
        load_images(source)


@pytest.mark.parametrize(
    ("module", "ending"), [("pillow_heif", ".heic"), ("pillow_jxl", ".jxl"), ("PIL", ".avif")]
)
def test_formats_of_plug_ins_are_read_where_they_are_installed(write, module, ending):
    pytest.importorskip(module)
    formats.readable_formats.cache_clear()
    formats.image_endings.cache_clear()
    formats.readable_formats()
    if ending == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    # Smooth colors, of which compression changes little; three sides show that nothing is turned.
    ramp = np.linspace(0, 255, 64)
    pixels = np.stack([*np.meshgrid(ramp, ramp[::-1]), np.full((64, 64), 90.0)], -1).astype("uint8")
    root = write({"a.png": pixels})
    Image.fromarray(pixels).save(root / f"b{ending}", quality=95)
    images = load_images(root)
    assert images.names == ("a.png", f"b{ending}")
    assert np.abs(images.array([1])[0].astype(int) - pixels).max() < 20
    (root / f"b{ending}").write_bytes((root / f"b{ending}").read_bytes()[:-100])
    with pytest.raises(DataError, match=rf"b\{ending}: corrupt|b\{ending}: not an image"):
        load_images(root)


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (1, 89_000_000), (89_000_000, 1)])
def test_large_images_are_refused_before_they_are_decoded(width, height):
    with at_most(1 << 24), pytest.raises(DataError, match=r"a\.png: .*pixels"):
        decode(png(width, height), "a.png")


def test_the_limit_on_pixels_is_named_and_can_be_raised(write, noise, monkeypatch):
    root = write({"a.png": noise(50, 50, 3)})
    monkeypatch.setenv(PIXELS.variable, "2499")
    with pytest.raises(DataError, match=r"2,500 pixels, .*2,499.*CREDITLINE_MAX_PIXELS=2500"):
        load_images(root)
    monkeypatch.setenv(PIXELS.variable, "2500")
    assert load_images(root).shape == (3, 50, 50)
    monkeypatch.setenv(PIXELS.variable, "many")
    with pytest.raises(SettingsError, match="CREDITLINE_MAX_PIXELS must be a positive integer"):
        load_images(root)


def test_pillows_own_limit_yields_to_ours(write, noise, monkeypatch):
    root = write({"a.png": noise(50, 50, 3)})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # Pillow warns up to twice as many
    assert load_images(root).shape == (3, 50, 50)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"decompression bomb.*CREDITLINE_MAX_PIXELS"):
        load_images(root)


def test_transparency_and_16_bits_take_bounded_memory():
    """In strips, whose intermediate values are small."""
    image = Image.new("RGBA", (3000, 1000), (10, 20, 30, 128))
    with at_most(3000 * 1000 * 24):
        flat = flatten(image, "white")
    assert flat.getpixel((2999, 999)) == flat.getpixel((0, 0)) == (132, 137, 142)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted otherwise")
@pytest.mark.parametrize(("mode", "bound"), [("RGB", 6), ("RGBA", 10)])
def test_an_image_takes_no_more_than_two_copies_of_its_pixels(mode, bound):
    side, stream = 4000, io.BytesIO()
    Image.new(mode, (side, side), 10).save(stream, "PNG")
    pid = os.fork()
    if pid == 0:  # a child, since the largest memory of a process never falls
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        prepare(decode(stream.getvalue(), "a.png"), ImageSpec(size=8))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        os._exit(grown * 1024 > bound * side**2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_pipes_and_devices_are_not_opened(write, noise):
    root = write({"a.png": noise(4, 4, 3)})
    os.mkfifo(root / "pipe.png")
    (root / "link.png").symlink_to("pipe.png")
    (root / "endless.png").symlink_to("/dev/zero")
    images = load_images(root, selection=SelectionSpec(skip_bad=True))
    assert images.names == ("a.png",)
    assert {reason for _, reason in images.skipped} == {
        "a pipe, device or socket and not a regular file. Remove it"
    }
    for source in (root / "pipe.png", [root / "link.png"]):
        with pytest.raises(DataError, match="pipe, device or socket"):
            load_images(source)
    os.mkfifo(root / "metadata.csv")
    with pytest.raises(DataError, match=r"metadata\.csv: a pipe"):
        load_images(root)


def test_large_files_and_metadata_are_refused_with_their_limit(folder, zipped, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv(FILE_BYTES.variable, "100")
        for source in (folder, zipped(folder)):
            with pytest.raises(DataError, match=r"cat/0\.png: .*CREDITLINE_MAX_FILE_BYTES="):
                load_images(source)
    (folder / "metadata.csv").write_text("file_name,text\n" + "x" * 200)
    monkeypatch.setenv(METADATA_BYTES.variable, "100")
    for source in (folder, zipped(folder)):
        with pytest.raises(DataError, match=r"metadata\.csv: .*CREDITLINE_MAX_METADATA_BYTES="):
            load_images(source)


@pytest.mark.slow
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_entry_that_lies_about_its_size_takes_no_memory(tmp_path, method):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.png", bytes(60_000_000))
    data = path.read_bytes().replace(struct.pack("<I", 60_000_000), struct.pack("<I", 1000))
    path.write_bytes(data)
    with at_most(20_000_000), pytest.raises(DataError, match=r"a\.png"):
        load_images(path)


@pytest.mark.slow
def test_parquet_that_unpacks_to_too_much_is_refused(write, noise, monkeypatch):
    import pyarrow
    import pyarrow.parquet

    root = write({"a.png": noise(4, 4, 3)})
    table = pyarrow.table({"file_name": ["a.png"] * 5000, "text": ["x" * 1000] * 5000})
    pyarrow.parquet.write_table(table, root / "metadata.parquet")
    monkeypatch.setenv(METADATA_BYTES.variable, "200000")
    with pytest.raises(DataError, match=r"metadata\.parquet.*more than 200,000 bytes"):
        load_images(root)


def test_strips_do_not_change_pixels(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 4), dtype=np.uint8)
    expected = prepare(Image.fromarray(pixels), ImageSpec())
    monkeypatch.setattr("creditline.data.decode.STRIP", 10)
    np.testing.assert_array_equal(prepare(Image.fromarray(pixels), ImageSpec()), expected)
